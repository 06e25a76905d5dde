from pathlib import Path

import pytest
from kfp import dsl
from kfp.local.cache import LocalCache

from pipeline.task_cache import seal_entries


@pytest.fixture
def cache(tmp_path: Path) -> LocalCache:
    found = LocalCache(str(tmp_path / "tasks"))
    seal_entries(found)
    return found


def entry_of(cache: LocalCache) -> Path:
    return Path(cache.cache_root) / "key.json"


def test_a_result_comes_back_when_its_entry_is_unchanged(cache: LocalCache, tmp_path: Path) -> None:
    place = tmp_path / "thing"
    place.mkdir()
    cache.put("key", {"thing": dsl.Artifact(name="thing", uri=str(place), metadata={"users": 3})})
    found = cache.get("key")
    assert found is not None
    assert found["thing"].metadata == {"users": 3}


def test_an_entry_is_a_miss_when_a_number_in_it_changed(cache: LocalCache) -> None:
    cache.put("key", {"users": 3})
    entry_of(cache).write_text('{"users": 4}')
    assert cache.get("key") is None


@pytest.mark.parametrize("content", [b"[]", b"\xff", b"", b'{"users": '])
def test_an_entry_is_a_miss_when_it_is_no_entry(cache: LocalCache, content: bytes) -> None:
    cache.put("key", {"users": 3})
    entry_of(cache).write_bytes(content)
    assert cache.get("key") is None


def test_an_entry_is_a_miss_when_its_seal_was_never_written(cache: LocalCache) -> None:
    cache.put("key", {"users": 3})
    entry_of(cache).with_suffix(".seal").unlink()
    assert cache.get("key") is None
    cache.put("key", {"users": 3})
    assert cache.get("key") == {"users": 3}


def test_what_was_never_there_is_a_miss(cache: LocalCache) -> None:
    assert cache.get("key") is None
