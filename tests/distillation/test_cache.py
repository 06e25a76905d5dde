from pathlib import Path

import numpy as np
import pytest
import torch

from slmrec.artifacts import Artifact
from slmrec.config import CacheTeacher
from slmrec.data.sequences import Sequences
from slmrec.distillation.cache import (
    TeacherCache,
    cache_bytes,
    parse_shard,
    require_space,
    write_shard,
)
from slmrec.errors import ArtifactError, ConfigError, SlmrecError
from slmrec.models.decoder import Decoder, DecoderShape
from slmrec.progress import Silent

CONFIG = CacheTeacher(blocks=2, top_k=5, shards=2, batch_tokens=64)


@pytest.fixture
def teacher() -> Decoder:
    torch.manual_seed(4)
    shape = DecoderShape(items=12, width=8, heads=2, feed_forward=(8, 8, 8, 8), max_length=4)
    model = Decoder(shape).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model


def made_from(name: str) -> Artifact:
    return Artifact(Path(name), name, f"digest of {name}", {}, {})


def write_all(folder: Path, teacher: Decoder, sequences: Sequences) -> list[Path]:
    inputs = {"teacher": made_from("teacher"), "sequences": made_from("sequences")}
    places = [folder / f"shard{number}" for number in range(2)]
    for number, place in enumerate(places):
        write_shard(place, teacher, sequences, f"{number}/2", CONFIG, inputs, Silent())
    return places


def test_cache_holds_what_the_live_teacher_says_at_every_training_position(
    tmp_path: Path, teacher: Decoder, cycles: Sequences
) -> None:
    cache = TeacherCache(write_all(tmp_path, teacher, cycles), cycles)
    # user 7 trains on 7 items, so 6 positions, cut from the end into windows of 2 and 4
    start = int(cycles.offsets[7])
    for window in (range(start, start + 2), range(start + 2, start + 6)):
        items = torch.tensor([[int(cycles.items[p]) for p in window]])
        with torch.inference_mode():
            inner, last = teacher(items, torch.arange(len(window))[None], blocks=2)
            scores = last[0] @ teacher.items.weight[1:].T
        cached = cache.read(np.asarray(window))
        live = torch.stack([inner[0], last[0]], dim=1)
        torch.testing.assert_close(cached.states, live, rtol=2**-7, atol=1e-6)  # bfloat16
        best = scores.topk(5)
        assert torch.equal(cached.top_items, best.indices + 1)
        torch.testing.assert_close(cached.top_scores, best.values, rtol=2**-10, atol=1e-3)


def test_shards_hold_each_training_position_once(
    tmp_path: Path, teacher: Decoder, cycles: Sequences
) -> None:
    places = write_all(tmp_path, teacher, cycles)
    positions = [np.load(place / "positions.npy") for place in places]
    joined = np.concatenate(positions)
    assert len(joined) == len(set(joined.tolist())) == 60 * 6
    assert cycles.split_mask("train")[joined + 1].all()  # the target, too, is training


def test_cache_is_refused_when_a_shard_is_missing(
    tmp_path: Path, teacher: Decoder, cycles: Sequences
) -> None:
    places = write_all(tmp_path, teacher, cycles)
    with pytest.raises(ArtifactError, match=r"found the shards \[\(1, 2\)\]"):
        TeacherCache(places[1:], cycles)


def test_cache_is_refused_when_shards_come_from_different_teachers(
    tmp_path: Path, teacher: Decoder, cycles: Sequences
) -> None:
    places = write_all(tmp_path, teacher, cycles)
    inputs = {"teacher": made_from("another"), "sequences": made_from("sequences")}
    write_shard(places[1], teacher, cycles, "1/2", CONFIG, inputs, Silent())
    with pytest.raises(ArtifactError, match="different teacher"):
        TeacherCache(places, cycles)


def test_cache_is_refused_when_a_bit_has_flipped(
    tmp_path: Path, teacher: Decoder, cycles: Sequences
) -> None:
    places = write_all(tmp_path, teacher, cycles)
    states = places[0] / "states.npy"
    data = bytearray(states.read_bytes())
    data[-3] ^= 1
    states.write_bytes(bytes(data))
    with pytest.raises(ArtifactError, match=r"states\.npy"):
        TeacherCache(places, cycles)


def test_cache_is_refused_when_it_is_another_teachers(
    tmp_path: Path, teacher: Decoder, cycles: Sequences
) -> None:
    places = write_all(tmp_path, teacher, cycles)
    assert TeacherCache(places, cycles, made_from("teacher")).blocks == 2
    with pytest.raises(ArtifactError, match="made from other teacher"):
        TeacherCache(places, cycles, made_from("another"))


def test_position_without_entry_is_named(
    tmp_path: Path, teacher: Decoder, cycles: Sequences
) -> None:
    cache = TeacherCache(write_all(tmp_path, teacher, cycles), cycles)
    with pytest.raises(ArtifactError, match="no entry for position 8"):
        cache.read(np.asarray([0, 8]))  # position 8 is user 0's test item


def test_space_is_asked_for_with_numbers_when_the_disk_is_too_small(
    teacher: Decoder, cycles: Sequences
) -> None:
    needed = cache_bytes(30 * 6, blocks=2, width=8, top_k=5)
    assert needed == 180 * (8 + 2 * 2 * 8 + 6 * 5)
    require_space(cycles, teacher, "0/2", CONFIG, needed)
    with pytest.raises(SlmrecError, match="180 positions"):
        require_space(cycles, teacher, "0/2", CONFIG, needed - 1)


@pytest.mark.parametrize("text", ["2/2", "-1/2", "0", "a/b", "0/0"])
def test_shard_is_refused_when_malformed(text: str) -> None:
    with pytest.raises(ConfigError, match="expected NUMBER/COUNT"):
        parse_shard(text)


def test_cache_is_refused_when_blocks_do_not_divide_the_layers(
    tmp_path: Path, teacher: Decoder, cycles: Sequences
) -> None:
    config = CONFIG.model_copy(update={"blocks": 3})
    with pytest.raises(ConfigError, match="does not divide the teacher's 4 layers"):
        write_shard(tmp_path / "x", teacher, cycles, "0/1", config, {}, Silent())
    assert not (tmp_path / "x").exists()
