from pathlib import Path

import numpy as np
import pytest

from slmrec.artifacts import Artifact
from slmrec.config import CacheTeacher
from slmrec.data.sequences import Sequences
from slmrec.distillation.read_cache import TeacherCache
from slmrec.distillation.write_cache import write_shard
from slmrec.errors import ArtifactError
from slmrec.progress import Silent

CONFIG = CacheTeacher(blocks=2, top_k=5, shards=2, batch_tokens=64)


def made_from(name: str) -> Artifact:
    return Artifact(Path(name), name, f"digest of {name}", {}, {})


@pytest.fixture
def write(tmp_path: Path, teacher, cycles: Sequences):
    """Write shard `number` of 2 and give its place."""

    def go(number: int, origin: str = "teacher", config: CacheTeacher = CONFIG) -> Path:
        place = tmp_path / f"shard{number}"
        inputs = {"teacher": made_from(origin), "sequences": made_from("sequences")}
        write_shard(place, teacher, cycles, f"{number}/2", config, inputs, Silent())
        return place

    return go


@pytest.fixture
def places(write) -> list[Path]:
    return [write(0), write(1)]


def test_rows_are_found_by_position_in_any_order(places, cycles: Sequences) -> None:
    cache = TeacherCache(places, cycles)
    forward, backward = cache.read(np.asarray([0, 9, 1])), cache.read(np.asarray([1, 9, 0]))
    assert forward.states.shape == (3, 2, 8)
    assert (forward.states == backward.states.flip(0)).all()
    assert (forward.top_items == backward.top_items.flip(0)).all()
    assert (forward.states[0] != forward.states[2]).any()


def test_order_of_the_shards_does_not_matter(places, cycles: Sequences) -> None:
    positions = np.arange(6)
    one, other = TeacherCache(places, cycles), TeacherCache(places[::-1], cycles)
    assert (one.read(positions).states == other.read(positions).states).all()


def test_cache_is_refused_when_a_shard_is_missing(places, cycles: Sequences) -> None:
    with pytest.raises(ArtifactError, match=r"found the shards \[\(1, 2\)\]"):
        TeacherCache(places[1:], cycles)


def test_cache_is_refused_when_shards_come_from_different_teachers(
    places, write, cycles: Sequences
) -> None:
    write(1, "another")
    with pytest.raises(ArtifactError, match="different teacher"):
        TeacherCache(places, cycles)


def test_cache_is_refused_when_shards_hold_different_things(
    places, write, cycles: Sequences
) -> None:
    write(1, config=CONFIG.model_copy(update={"states": "int8"}))
    with pytest.raises(ArtifactError, match="hold different things"):
        TeacherCache(places, cycles)


def test_cache_is_refused_when_a_bit_has_flipped(places, cycles: Sequences) -> None:
    states = places[0] / "states.npy"
    data = bytearray(states.read_bytes())
    data[-3] ^= 1
    states.write_bytes(bytes(data))
    with pytest.raises(ArtifactError, match=r"states\.npy"):
        TeacherCache(places, cycles)


def test_cache_is_refused_when_it_is_another_teachers(places, cycles: Sequences) -> None:
    assert TeacherCache(places, cycles, made_from("teacher")).blocks == 2
    with pytest.raises(ArtifactError, match="made from other teacher"):
        TeacherCache(places, cycles, made_from("another"))


def test_position_without_entry_is_named(places, cycles: Sequences) -> None:
    cache = TeacherCache(places, cycles)
    with pytest.raises(ArtifactError, match="no entry for position 8"):
        cache.read(np.asarray([0, 8]))  # position 8 is user 0's test item
