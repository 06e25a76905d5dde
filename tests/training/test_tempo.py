import pytest

from slmrec.training.tempo import HALF_LIFE_SECONDS, Tempo


def test_tempo_is_positions_a_second_when_steps_are_even() -> None:
    clock = iter([0.0, 2.0, 4.0, 6.0])
    tempo = Tempo(lambda: next(clock))
    assert [tempo.after(100) for _ in range(3)] == pytest.approx([50.0, 50.0, 50.0])


def test_older_steps_count_half_after_a_half_life() -> None:
    now = iter([0.0, 1.0, 1.0 + HALF_LIFE_SECONDS])
    tempo = Tempo(lambda: next(now))
    tempo.after(100)
    # half of (100 positions, 1 s) and all of (30 positions, 3 s)
    assert tempo.after(30) == pytest.approx((50 + 30) / (0.5 + HALF_LIFE_SECONDS))


def test_time_between_epochs_does_not_count() -> None:
    now = iter([0.0, 1.0, 61.0, 62.0])
    tempo = Tempo(lambda: next(now))
    assert tempo.after(10) == pytest.approx(10)
    tempo.restart()
    assert tempo.after(10) == pytest.approx(10)
