import errno
from pathlib import Path

import pytest

from slmrec.errors import disk_trouble, naming

CURES = {
    errno.ENOSPC: "make room there",
    errno.EDQUOT: "make room there",
    errno.EACCES: "let this user read and write there",
    errno.EROFS: "let this user read and write there",
}


@pytest.mark.parametrize("code", CURES)
def test_trouble_with_a_disk_names_the_place_and_what_to_do(code: int) -> None:
    said = disk_trouble(OSError(code, "it says", "/home/x"))
    expected = "and run the same command again, what was finished stays"
    assert said == f"/home/x: it says; {CURES[code]} {expected}"


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOENT, "No such file", "/x"), ValueError("shape (3, 4)"), KeyError("space")],
)
def test_other_errors_are_no_trouble_with_a_disk(error: Exception) -> None:
    assert disk_trouble(error) is None


def test_an_error_that_names_no_file_gets_a_name() -> None:
    with pytest.raises(OSError, match="No space left") as raised, naming(Path("/home/x")):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert raised.value.filename == "/home/x"
    assert raised.value.errno == errno.ENOSPC


def test_an_error_keeps_the_name_that_it_has() -> None:
    with pytest.raises(OSError, match="full") as raised, naming(Path("/home/x")):
        raise OSError(errno.ENOSPC, "full", "/home/y")
    assert raised.value.filename == "/home/y"


def test_an_error_of_something_else_than_a_disk_keeps_its_words() -> None:
    with pytest.raises(ConnectionResetError) as raised, naming(Path("/home/x")):
        raise ConnectionResetError(errno.ECONNRESET, "reset by peer")
    assert raised.value.filename is None


def test_a_write_that_numpy_found_short_is_a_full_disk() -> None:
    with pytest.raises(OSError, match="No space left") as raised, naming(Path("/home/x")):
        raise OSError("250000 requested and 4096 written")
    assert raised.value.errno == errno.ENOSPC
