import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from slmrec.artifacts import MANIFEST, open_artifact
from slmrec.errors import ArtifactError
from slmrec.models.recommender import Recommender
from slmrec.models.servable import Servable
from tests.models.servables import catalogue_of, export_small

ITEMS = 12
COUNTS = [5, 1, 9, 2, 9, 3, 4, 6, 7, 8, 1, 2]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recommender") / "servable"
    return export_small(folder, catalogue_of(COUNTS), "int8").path


def ids(found) -> list[str]:
    return [one.item_id for one in found]


def test_lists_are_the_best_scores_by_item_id(place: Path) -> None:
    recommender = Recommender.open(place, threads=1)
    (found,) = recommender.recommend([["i3", "i7"]], k=4)
    scores = Servable(open_artifact(place), 1).scores([np.asarray([3, 7], np.int32)])[0]
    scores[[0, 3, 7]] = -np.inf
    best = np.argsort(-scores, kind="stable")[:4]
    assert ids(found) == [f"i{item}" for item in best]
    assert [one.score for one in found] == pytest.approx(scores[best].tolist())


def test_seen_items_are_listed_only_when_asked_for(place: Path) -> None:
    recommender = Recommender.open(place, threads=1)
    history = ["i1", "i2", "i3", "i4", "i5", "i6"]  # two are older than the model reads
    (without,) = recommender.recommend([history], k=50)
    (everything,) = recommender.recommend([history], k=50, exclude_seen=False)
    assert set(ids(without)) == {f"i{n}" for n in range(7, 13)}
    assert set(ids(everything)) == {f"i{n}" for n in range(1, 13)}


def test_an_unknown_item_is_passed_over(place: Path) -> None:
    recommender = Recommender.open(place, threads=1)
    plain, mixed = recommender.recommend([["i3", "i7"], ["new", "i3", "newer", "i7"]])
    assert plain == mixed


def test_who_is_unknown_gets_what_is_popular(place: Path) -> None:
    recommender = Recommender.open(place, threads=1)
    nobody, stranger, known = recommender.recommend([[], ["new"], ["i1"]], k=3)
    assert ids(nobody) == ids(stranger) == ["i3", "i5", "i10"]
    assert known == recommender.recommend([["i1"]], k=3)[0]


def test_no_list_is_made_of_no_items(place: Path) -> None:
    recommender = Recommender.open(place, threads=1)
    assert recommender.recommend([]) == []
    with pytest.raises(ValueError, match="k is 0, expected at least 1"):
        recommender.recommend([["i1"]], k=0)


def test_it_answers_where_torch_is_not_installed(place: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from slmrec.models.recommender import Recommender\n"
        f"print(*[r.item_id for r in Recommender.open({str(place)!r}).recommend([['i3']], 3)[0]])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ids(Recommender.open(place).recommend([["i3"]], 3)[0])


def test_a_damaged_artifact_is_refused(place: Path, tmp_path: Path) -> None:
    import shutil

    damaged = tmp_path / "damaged"
    shutil.copytree(place, damaged)
    weights = damaged / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.chmod(0o644)
    weights.write_bytes(bytes(content))
    assert (damaged / MANIFEST).exists()
    with pytest.raises(ArtifactError, match=r"weights\.safetensors"):
        Recommender.open(damaged).recommend([["i1"]])
