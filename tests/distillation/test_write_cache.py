import re
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch

from slmrec.artifacts import Artifact, open_artifact
from slmrec.config import CacheTeacher
from slmrec.data.sequences import Sequences
from slmrec.distillation.read_cache import TeacherCache
from slmrec.distillation.shard_plan import shard_of_users
from slmrec.distillation.shard_store import ShardStore
from slmrec.distillation.teachers import NetworkTeacher
from slmrec.distillation.write_cache import write_shard
from slmrec.errors import ConfigError, SlmrecError
from slmrec.models.decoder import Decoder
from slmrec.progress import Silent

CONFIG = CacheTeacher(blocks=2, top_k=5, shards=2, batch_tokens=64)
USERS = [f"user {n}" for n in range(60)]


def write_all(folder: Path, teacher, sequences: Sequences, config: CacheTeacher) -> list[Path]:
    places = [folder / f"shard{number}" for number in range(2)]
    for number, place in enumerate(places):
        write_shard(place, teacher, sequences, f"{number}/2", config, {}, Silent())
    return places


def live(decoder: Decoder, items: list[int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """States [items, 2, width], scores without padding and attention [items, 2, items], unpacked."""
    batch = torch.tensor([items])
    with torch.inference_mode():
        hidden = decoder.read(batch, torch.arange(len(items))[None], blocks=2, attention=True)
        scores = hidden.states[-1][0] @ decoder.items.weight[1:].T
    states = torch.stack([state[0] for state in hidden.states], dim=1)
    return states, scores, torch.stack([rows[0] for rows in hidden.attention], dim=1)


@pytest.mark.parametrize(("kind", "precision"), [("bfloat16", 2**-8), ("int8", 1 / 254)])
def test_cache_holds_what_the_live_teacher_says_at_every_training_position(
    tmp_path: Path, teacher, cycles: Sequences, kind: str, precision: float
) -> None:
    config = CONFIG.model_copy(update={"states": kind, "attention": True})
    cache = TeacherCache(write_all(tmp_path, teacher, cycles, config), cycles)
    # user 7 trains on 7 items, so 6 positions, cut from the end into windows of 2 and 4
    start = int(cycles.offsets[7])
    for window in (range(start, start + 2), range(start + 2, start + 6)):
        length = len(window)
        states, scores, attention = live(teacher.network, [int(cycles.items[p]) for p in window])
        cached = cache.read(np.asarray(window))
        largest = states.abs().amax(dim=2, keepdim=True)
        assert ((cached.states - states).abs() <= precision * largest + 1e-5).all()
        best = scores.topk(5)
        assert torch.equal(cached.top_items, best.indices + 1)
        below = best.values - best.values[:, :1]
        torch.testing.assert_close(cached.top_scores, below, rtol=2**-11, atol=1e-4)
        kept = scores.softmax(dim=1).topk(5).values.sum(dim=1)
        torch.testing.assert_close((-cached.tail).exp(), kept, rtol=0, atol=1e-5)
        assert cached.attention is not None
        torch.testing.assert_close(
            cached.attention[:, :, :length], attention, rtol=2**-10, atol=1e-5
        )
        assert not cached.attention[:, :, length:].any()


def test_files_have_the_size_that_was_said_and_time_is_estimated(
    tmp_path: Path, teacher, cycles: Sequences, progress
) -> None:
    config = CONFIG.model_copy(update={"top_k": 12, "blocks": 4, "attention": True})
    artifact = write_shard(tmp_path / "c", teacher, cycles, "0/1", config, {}, progress).artifact
    said = re.fullmatch(r"360 positions · ([\d.]+) MiB · about (\d+) s", progress.said[0])
    assert said
    arrays = sum(artifact.file(name).stat().st_size for name in artifact.files)
    headers = 128 * len(artifact.files)
    assert arrays - headers == 360 * (8 + 4 * 2 * 8 + 6 * 12 + 4 + 4 * 2 * 4)
    assert float(said[1]) == pytest.approx((arrays - headers) / 2**20, abs=0.05)
    assert int(said[2]) < 60


def test_time_is_the_one_of_the_batches_after_the_first(
    tmp_path: Path, teacher, cycles: Sequences, progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 10_000, 10))  # every look at the clock is 10 s after the last
    monkeypatch.setattr("slmrec.distillation.write_cache.time.monotonic", lambda: next(clock))
    config = CONFIG.model_copy(update={"batch_tokens": 4})  # a row a batch: 4 or 2 + 2 positions
    write_shard(tmp_path / "c", teacher, cycles, "0/1", config, {}, progress)
    assert progress.said[0].endswith(f"about {360 / 4 * 10:,.0f} s")


def test_teacher_is_asked_once_about_every_position(
    tmp_path: Path, teacher, cycles: Sequences
) -> None:
    write_all(tmp_path, teacher, cycles, CONFIG)
    assert len(teacher.asked) == 60 * 6


def test_shard_is_refused_with_numbers_before_the_teacher_runs_when_the_disk_is_too_small(
    tmp_path: Path, teacher, cycles: Sequences, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = namedtuple("usage", "total used free")(100, 90, 10)
    monkeypatch.setattr("slmrec.distillation.write_cache.shutil.disk_usage", lambda path: full)
    with pytest.raises(SlmrecError, match=r"0/1 needs 0\.0 MiB for 360 positions"):
        write_shard(tmp_path / "c", teacher, cycles, "0/1", CONFIG, {}, Silent())
    assert teacher.asked == []
    assert not (tmp_path / "c").exists()


def test_shard_may_be_empty_when_no_user_falls_to_it(
    tmp_path: Path, teacher, make_sequences
) -> None:
    one = make_sequences([[1, 2, 3, 4, 12]])
    places = [tmp_path / "a", tmp_path / "b"]
    for number, place in enumerate(places):
        write_shard(place, teacher, one, f"{number}/2", CONFIG, {}, Silent())
    assert open_artifact(places[1]).properties["positions"] == 0
    assert TeacherCache(places, one).read(np.asarray([0, 1])).states.shape == (2, 2, 8)


def test_cache_is_refused_when_blocks_do_not_divide_the_layers(
    tmp_path: Path, teacher, cycles: Sequences
) -> None:
    config = CONFIG.model_copy(update={"blocks": 3})
    with pytest.raises(ConfigError, match="does not divide the teacher's 4 layers"):
        write_shard(tmp_path / "x", teacher, cycles, "0/1", config, {}, Silent())
    assert not (tmp_path / "x").exists()


def test_nothing_is_left_when_the_teacher_fails_midway(
    tmp_path: Path, teacher, cycles: Sequences, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = NetworkTeacher.read

    def fail(self, batch, blocks, *, attention=False):
        if len(teacher.asked) > 300:
            raise RuntimeError("the lights went out")
        return read(self, batch, blocks, attention=attention)

    monkeypatch.setattr(NetworkTeacher, "read", fail)
    with pytest.raises(RuntimeError, match="lights"):
        write_shard(tmp_path / "c" / "x", teacher, cycles, "0/1", CONFIG, {}, Silent())
    assert list((tmp_path / "c").iterdir()) == []


class TestReuse:
    """Runs one after another that share a store."""

    @pytest.fixture
    def inputs(self, make_decoder, store_teacher) -> dict[str, Artifact]:
        return {"teacher": store_teacher(make_decoder())}

    @pytest.fixture
    def run(self, tmp_path: Path, teacher, inputs):
        store = ShardStore(tmp_path / "store")

        def go(name: str, sequences: Sequences, progress=None, inputs=inputs, teacher=teacher):
            """Write both shards; give them, and the items that the teacher was asked about."""
            teacher.asked.clear()
            assert sequences.artifact is not None
            written = [
                write_shard(
                    tmp_path / name / f"{number}",
                    teacher,
                    sequences,
                    f"{number}/2",
                    CONFIG,
                    inputs | {"sequences": sequences.artifact},
                    progress or Silent(),
                    store,
                )
                for number in range(2)
            ]
            return written, list(teacher.asked)

        return go

    @pytest.fixture
    def sequences(self, cycles: Sequences, store_sequences) -> Sequences:
        return store_sequences(cycles, USERS)

    def test_teacher_is_not_asked_when_nothing_changed(self, run, sequences) -> None:
        first, asked = run("first", sequences)
        assert len(asked) == 60 * 6
        second, asked = run("second", sequences)
        assert asked == []
        assert [shard.reused for shard in first + second] == [False, False, True, True]
        # What was reused and what was computed is one and the same artifact.
        assert [s.artifact.digest for s in first] == [s.artifact.digest for s in second]

    def test_only_the_changed_users_shard_is_computed_when_one_history_changed(
        self, run, sequences, cycles, make_sequences, store_sequences, tmp_path, teacher
    ) -> None:
        run("first", sequences)
        histories = [list(h) for h in np.split(cycles.items, cycles.offsets[1:-1])]
        histories[5] = [7, *histories[5]]  # every later user's positions move by one
        changed = store_sequences(make_sequences(histories), USERS)
        second, asked = run("second", changed)
        mine = int(shard_of_users(changed, 2)[5])
        assert [shard.reused for shard in second] == [number != mine for number in range(2)]
        assert len(asked) == second[mine].artifact.properties["positions"]
        # Reused rows stand at the new positions, under the new sequences.
        cache = TeacherCache([shard.artifact.path for shard in second], changed)
        user = int(np.flatnonzero(shard_of_users(changed, 2) != mine)[-1])
        start = int(changed.offsets[user])
        states, _, _ = live(teacher.network, changed.items[start : start + 2].tolist())
        found = cache.read(np.arange(start, start + 2)).states
        torch.testing.assert_close(found, states, rtol=2**-8, atol=1e-5)

    def test_everything_is_computed_when_the_teacher_changed(
        self, run, sequences, make_decoder, store_teacher
    ) -> None:
        run("first", sequences)
        other = make_decoder(seed=5)
        _, asked = run("second", sequences, inputs={"teacher": store_teacher(other)})
        assert len(asked) == 60 * 6

    def test_shard_is_computed_and_this_is_said_when_the_kept_one_is_damaged(
        self, run, sequences, progress, tmp_path: Path
    ) -> None:
        first, _ = run("first", sequences)
        # A hard link: what damages the kept file damages the first run's, and is noticed in both.
        file = first[1].artifact.file("states.npy")
        data = bytearray(file.read_bytes())
        data[-3] ^= 1
        file.write_bytes(bytes(data))
        second, asked = run("second", sequences, progress)
        assert [shard.reused for shard in second] == [True, False]
        assert len(asked) == second[1].artifact.properties["positions"]
        assert second[1].artifact.digest == first[1].artifact.digest
        assert any("damaged" in text and "states.npy" in text for text in progress.said)
        _, asked = run("third", sequences)
        assert asked == []

    def test_shards_of_the_last_two_runs_are_kept(
        self, run, sequences, make_decoder, store_teacher, tmp_path: Path
    ) -> None:
        teachers = [{"teacher": store_teacher(make_decoder(seed=seed))} for seed in range(3)]
        for number, made_from in enumerate(teachers):
            run(f"run{number}", sequences, inputs=made_from)
        assert len(list((tmp_path / "store").iterdir())) == 4
        assert run("again", sequences, inputs=teachers[1])[1] == []
        assert run("newest", sequences, inputs=teachers[2])[1] == []
        assert len(run("oldest", sequences, inputs=teachers[0])[1]) == 60 * 6
