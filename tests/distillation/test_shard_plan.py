import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import slmrec
from slmrec.artifacts import open_artifact, publish
from slmrec.config import CacheTeacher
from slmrec.data.sequences import Sequences
from slmrec.distillation.shard_plan import (
    code_digest,
    parse_shard,
    plan_shard,
    require_space,
    shard_key,
    shard_of_users,
)
from slmrec.errors import ConfigError, SlmrecError

CONFIG = CacheTeacher(blocks=2, top_k=5, shards=2, batch_tokens=64)


@pytest.mark.parametrize("text", ["2/2", "-1/2", "0", "a/b", "0/0"])
def test_shard_is_refused_when_malformed(text: str) -> None:
    with pytest.raises(ConfigError, match="expected NUMBER/COUNT"):
        parse_shard(text)


def test_shards_hold_each_training_position_once(teacher, cycles: Sequences) -> None:
    plans = [plan_shard(cycles, teacher, f"{number}/3", CONFIG) for number in range(3)]
    joined = np.concatenate([plan.positions for plan in plans])
    assert len(joined) == len(set(joined.tolist())) == 60 * 6
    assert cycles.split_mask("train")[joined + 1].all()  # the target, too, is training
    assert all((np.diff(plan.positions) > 0).all() for plan in plans)


def test_space_is_asked_for_with_numbers_when_the_disk_is_too_small(
    teacher, cycles: Sequences
) -> None:
    plan = plan_shard(cycles, teacher, "0/2", CONFIG)
    needed = 30 * 6 * (8 + 2 * 2 * 8 + 6 * 5 + 4)
    assert plan.bytes == needed
    require_space(plan, needed)
    with pytest.raises(SlmrecError, match="180 positions"):
        require_space(plan, needed - 1)


def test_user_stays_in_the_shard_when_others_come(cycles: Sequences, store_sequences) -> None:
    few, more = (store_sequences(cycles, ids) for ids in (USERS, ["new", *USERS[:-1]]))
    before = dict(zip(USERS, shard_of_users(few, 4).tolist(), strict=True))
    after = dict(zip(["new", *USERS[:-1]], shard_of_users(more, 4).tolist(), strict=True))
    assert {user: after[user] for user in USERS[:-1]} == {u: before[u] for u in USERS[:-1]}
    # 60 users over 4 shards: none is empty and none holds half
    assert max(np.bincount(shard_of_users(few, 4).astype(int), minlength=4)) < 30


def test_sessions_of_a_user_fall_to_one_shard(cycles: Sequences, store_sequences) -> None:
    sessions = store_sequences(cycles, [f"u{n // 3}" for n in range(60)])
    shards = shard_of_users(sessions, 4).reshape(20, 3)
    assert (shards == shards[:, :1]).all()


def test_users_are_dealt_out_by_index_when_there_are_no_ids(cycles: Sequences) -> None:
    assert shard_of_users(cycles, 3)[:5].tolist() == [0, 1, 2, 0, 1]


USERS = [f"user {n}" for n in range(60)]


class TestKey:
    @pytest.fixture
    def inputs(self, make_decoder: Callable, store_teacher: Callable) -> dict:
        return {"teacher": store_teacher(make_decoder())}

    def key(self, teacher, sequences: Sequences, inputs: dict, config=CONFIG, device="cpu") -> str:
        plan = plan_shard(sequences, teacher, "1/2", config)
        return shard_key(plan, sequences, config, inputs, device)

    def test_is_that_of_the_device_that_is_used_and_not_of_the_word_for_it(
        self, teacher, cycles: Sequences, inputs: dict
    ) -> None:
        asked = CONFIG.model_copy(update={"device": "cpu"})
        assert self.key(teacher, cycles, inputs, asked) == self.key(teacher, cycles, inputs)
        on_gpu = self.key(teacher, cycles, inputs, device="cuda")
        assert on_gpu != self.key(teacher, cycles, inputs)

    def test_is_the_same_when_only_users_of_other_shards_change(
        self, teacher, cycles: Sequences, inputs: dict, store_sequences: Callable, make_sequences
    ) -> None:
        before = store_sequences(cycles, USERS)
        histories = [list(h) for h in np.split(cycles.items, cycles.offsets[1:-1])]
        other = int(np.flatnonzero(shard_of_users(before, 2) == 0)[0])
        histories[other] = [1, 2, 3, 4]  # shorter: positions of all users after it move
        after = store_sequences(make_sequences(histories), USERS)
        plans = [plan_shard(sequences, teacher, "1/2", CONFIG) for sequences in (before, after)]
        assert plans[0].positions.tolist() != plans[1].positions.tolist()
        assert self.key(teacher, before, inputs) == self.key(teacher, after, inputs)

    def test_is_another_when_an_item_that_is_read_changes(
        self, teacher, cycles: Sequences, inputs: dict
    ) -> None:
        read = plan_shard(cycles, teacher, "1/2", CONFIG).positions
        items = cycles.items.copy()
        items[read[17]] = items[read[17]] % 12 + 1
        changed = replace(cycles, items=items)
        assert self.key(teacher, changed, inputs) != self.key(teacher, cycles, inputs)

    def test_is_the_same_when_an_item_that_is_not_read_changes(
        self, teacher, cycles: Sequences, inputs: dict
    ) -> None:
        items = cycles.items.copy()
        items[cycles.offsets[2:] - 1] = 1  # test items
        changed = replace(cycles, items=items)
        assert self.key(teacher, changed, inputs) == self.key(teacher, cycles, inputs)

    def test_is_another_when_histories_are_cut_elsewhere(
        self, teacher, make_sequences: Callable, inputs: dict
    ) -> None:
        # shard 1 reads users 1 and 3: 1 2 3 4 5 6 in both cases, cut after 4 or after 3
        one = make_sequences([[1] * 4, [1, 2, 3, 4, 5, 9, 9], [1] * 4, [5, 6, 7, 9, 12]])
        two = make_sequences([[1] * 4, [1, 2, 3, 4, 9, 9], [1] * 4, [5, 5, 6, 7, 9, 12]])
        assert self.key(teacher, one, inputs) != self.key(teacher, two, inputs)

    def test_is_another_when_the_catalogue_grows(
        self, teacher, cycles: Sequences, inputs: dict
    ) -> None:
        grown = replace(cycles, item_count=13)
        assert self.key(teacher, grown, inputs) != self.key(teacher, cycles, inputs)

    def test_is_another_when_a_setting_changes(
        self, teacher, cycles: Sequences, inputs: dict
    ) -> None:
        int8 = CONFIG.model_copy(update={"states": "int8"})
        assert self.key(teacher, cycles, inputs, int8) != self.key(teacher, cycles, inputs)

    def test_is_another_when_the_teachers_weights_change(
        self, teacher, cycles: Sequences, inputs: dict, make_decoder, store_teacher
    ) -> None:
        other = {"teacher": store_teacher(make_decoder(seed=5))}
        assert self.key(teacher, cycles, other) != self.key(teacher, cycles, inputs)

    def test_is_the_same_when_an_equal_teacher_came_from_elsewhere(
        self, teacher, cycles: Sequences, inputs: dict, make_decoder, store_teacher, tmp_path
    ) -> None:
        with publish(tmp_path / "log", "log"):
            pass
        origin = open_artifact(tmp_path / "log")
        equal = {"teacher": store_teacher(make_decoder(), made_from=origin)}
        assert equal["teacher"].digest != inputs["teacher"].digest
        assert self.key(teacher, cycles, equal) == self.key(teacher, cycles, inputs)

    def test_is_another_when_the_teacher_is_made_from_more(
        self, teacher, cycles: Sequences, inputs: dict, tmp_path: Path
    ) -> None:
        with publish(tmp_path / "graph", "transitions") as staging:
            pl.DataFrame({"a": [1]}).write_parquet(staging / "graph.parquet")
        joined = inputs | {"transitions": open_artifact(tmp_path / "graph")}
        assert self.key(teacher, cycles, joined) != self.key(teacher, cycles, inputs)


@pytest.mark.parametrize(
    ("file", "decides"),
    [
        ("models/decoder.py", True),
        ("training/batches.py", True),
        ("distillation/cache_format.py", True),
        ("distillation/losses.py", False),
        ("training/loop.py", False),
    ],
)
def test_code_counts_when_it_decides_what_a_shard_holds(
    tmp_path: Path, file: str, decides: bool
) -> None:
    copy = tmp_path / "slmrec"
    shutil.copytree(Path(slmrec.__file__).parent, copy)
    before = code_digest(copy)
    code_digest.cache_clear()
    assert code_digest(copy) == before
    with (copy / file).open("a") as stream:
        stream.write("# another line\n")
    code_digest.cache_clear()
    assert (code_digest(copy) != before) == decides
