import numpy as np
import pytest

from slmrec.data import spool as spool_module
from slmrec.data.spool import ROW, Spool


def rows_of(*rows: tuple[int, int, int, int, float]) -> np.ndarray:
    return np.array(list(rows), ROW)


def test_partitions_are_whole_users_by_rank_when_rows_are_dealt(tmp_path, monkeypatch):
    monkeypatch.setattr(spool_module, "PARTITION_ROWS", 3)
    monkeypatch.setattr(spool_module, "_DEAL_ROWS", 2)
    monkeypatch.setattr(spool_module, "_OPEN_FILES", 1)
    spool = Spool(tmp_path)
    spool.append(rows_of((7, 1, 10, 1, 1.0), (5, 2, 20, 2, 1.0), (7, 2, 30, 3, 1.0)))
    spool.append(rows_of((6, 1, 40, 4, 1.0), (5, 1, 50, 5, 1.0), (7, 1, 60, 6, 1.0)))
    rank = np.full(8, -1, np.int32)
    rank[[6, 7, 5]] = [0, 1, 2]
    # Users by rank have 1, 3 and 2 rows: with three a partition, the second user's end and the
    # third's lie in the second.
    found = list(spool.partitions(rank, np.array([0, 9, 8], np.int32), np.array([1, 3, 2])))
    assert [part["user"].tolist() for part in found] == [[0], [1, 2, 1, 2, 1]]
    assert np.concatenate(found)["row"].tolist() == [4, 1, 2, 3, 5, 6]
    assert np.concatenate(found)["item"].tolist() == [9, 9, 8, 8, 9, 9]
    assert list(tmp_path.iterdir()) == []


def test_there_are_no_partitions_when_nothing_was_written(tmp_path):
    assert list(Spool(tmp_path).partitions(*[np.zeros(0, np.int32)] * 3)) == []


@pytest.mark.parametrize("users", [1, 40])
def test_no_row_is_lost_when_partitions_are_many(tmp_path, monkeypatch, users):
    monkeypatch.setattr(spool_module, "PARTITION_ROWS", 5)
    monkeypatch.setattr(spool_module, "_OPEN_FILES", 3)
    rng = np.random.default_rng(0)
    rows = np.zeros(200, ROW)
    rows["user"] = rng.integers(0, users, 200)
    rows["row"] = np.arange(200)
    spool = Spool(tmp_path)
    spool.append(rows[:77])
    spool.append(rows[77:])
    counts = np.bincount(rows["user"], minlength=users)
    rank = np.arange(users, dtype=np.int32)
    parts = list(spool.partitions(rank, np.zeros(1, np.int32), counts))
    owners = [set(part["user"].tolist()) for part in parts]
    assert sum(map(len, owners)) == len(set().union(*owners)) == len(set(rows["user"].tolist()))
    joined = np.concatenate(parts)
    assert sorted(joined["row"].tolist()) == list(range(200))
    assert (np.diff([max(owner) for owner in owners]) > 0).all()
