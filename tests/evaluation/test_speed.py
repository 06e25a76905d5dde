import numpy as np
import pytest

from slmrec.config import EvaluateModels
from slmrec.evaluation.speed import BATCHES, WARM_UP, measure_speed, request_histories


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class Slow:
    """Takes a set time a user, and keeps a log that all models share."""

    def __init__(self, name, clock, log, durations):
        self.name, self.clock, self.log = name, clock, log
        self.durations = iter(durations)

    def scores(self, histories):
        self.log.append((self.name, len(histories)))
        self.clock.now += next(self.durations)
        return np.zeros((len(histories), 4), dtype=np.float32)


HISTORIES = [np.array([1], dtype=np.int32), np.array([2, 3], dtype=np.int32)]
CONFIG = EvaluateModels(latency_requests=5, batch_users=8)


def test_percentiles_and_rate_are_those_of_the_clock_when_it_is_set_by_hand():
    clock, log = Clock(), []
    batches = [0.5] + [0.3] * (BATCHES // 2 - 1) + [0.2] + [0.1] * (BATCHES // 2)
    # Every timed answer, of one user and of a batch, comes after one that is not.
    timed = [0.001, 0.002, 0.003, 0.004, 0.005, *batches]
    durations = [9.0] * WARM_UP + [taken for one in timed for taken in (9.0, one)]
    found = measure_speed({"m": Slow("m", clock, log, durations)}, HISTORIES, CONFIG, clock=clock)
    # Sorted 1..5 ms: the median is 3, the 95th percentile lies .8 of the way from 4 to 5.
    assert found["m"]["batch1_p50"] == pytest.approx(3.0)
    assert found["m"]["batch1_p95"] == pytest.approx(4.8)
    # Ten batches took less than 200 ms and ten more; the 95th percentile of 21 is the slowest but one.
    assert BATCHES == 21
    assert found["m"]["batch_p50"] == pytest.approx(200.0)
    assert found["m"]["batch_p95"] == pytest.approx(300.0)
    assert found["m"]["users_per_second"] == pytest.approx(8 / 0.2)


def test_models_take_turns_when_several_are_timed():
    clock, log = Clock(), []
    scorers = {name: Slow(name, clock, log, [1.0] * 99) for name in ("a", "b")}
    measure_speed(scorers, HISTORIES, CONFIG, clock=clock)
    timed = log[2 * WARM_UP :][:20]
    assert [name for name, _ in timed] == list("aabbbbaaaabbbbaaaabb")
    assert {size for _, size in timed} == {1}
    assert [size for _, size in log[2 * WARM_UP + 20 :]] == [8] * 2 * 2 * BATCHES


def test_a_model_with_other_numbers_is_asked_in_them():
    asked = []

    class Listens(Slow):
        def scores(self, histories):
            asked.extend(history.tolist() for history in histories)
            return super().scores(histories)

    clock = Clock()
    scorers = {
        "m": Slow("m", clock, [], [1.0] * 99),
        "old": Listens("old", clock, [], [1.0] * 99),
    }
    own = {"old": [np.array([3], dtype=np.int32)]}
    measure_speed(scorers, HISTORIES, CONFIG, clock=clock, own_histories=own)
    assert asked
    assert all(history == [3] for history in asked)


class Layered(Slow):
    """Takes a fixed time for its layers alone."""

    def __init__(self, name, clock, log, durations, layers):
        super().__init__(name, clock, log, durations)
        self.layers = layers

    def run_layers(self, histories):
        self.clock.now += self.layers


def test_layers_are_timed_alone_when_a_model_has_some():
    clock = Clock()
    scorers = {
        "counted": Slow("counted", clock, [], [1.0] * 99),
        "deep": Layered("deep", clock, [], [1.0] * 99, layers=0.25),
    }
    found = measure_speed(scorers, HISTORIES, CONFIG, clock=clock)
    assert found["deep"]["layers_batch1_p50"] == pytest.approx(250.0)
    assert found["deep"]["layers_users_per_second"] == pytest.approx(8 / 0.25)
    assert found["deep"]["users_per_second"] == pytest.approx(8 / 1.0)
    assert not any(key.startswith("layers") for key in found["counted"])
    assert set(found) == {"counted", "deep"}


def test_users_are_spread_over_the_index_when_more_than_asked_for(leave_one_out):
    sequences = leave_one_out([[1, user, 1, 1] for user in range(1, 101)], 100)
    config = EvaluateModels(latency_requests=3, batch_users=2)
    asked = request_histories(sequences, config)
    assert [history.tolist() for history in asked] == [[1, 1, 1], [1, 50, 1], [1, 100, 1]]
