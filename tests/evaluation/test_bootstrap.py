import numpy as np
import pytest

from slmrec.evaluation import bootstrap
from slmrec.evaluation.bootstrap import Bootstrap, holm, resampled_means


@pytest.mark.parametrize(("cells", "draws"), [(21, 10**6), (4, 10**6), (4, 3), (2**16, 3)])
def test_resampled_means_equal_a_loop_over_draws_when_blocks_are_small(monkeypatch, cells, draws):
    values = np.random.default_rng(1).random((7, 3))
    monkeypatch.setattr(bootstrap, "_BLOCK_CELLS", cells)  # three draws of seven users, or a part
    monkeypatch.setattr(bootstrap, "_PRODUCT_CELLS", 7 * draws)
    monkeypatch.setattr(bootstrap, "_PRODUCT_DRAWS", 1)
    monkeypatch.setattr(bootstrap, "_PRODUCT_USERS", 5)
    generator = np.random.default_rng(5)
    expected = [values[generator.integers(0, 7, size=7)].mean(axis=0) for _ in range(8)]
    assert resampled_means(values, 8, seed=5) == pytest.approx(np.array(expected), abs=1e-12)


def test_draws_are_the_same_when_the_seed_is_the_same():
    values = np.random.default_rng(1).random((40, 2))
    again = resampled_means(values, 50, seed=5)
    assert np.array_equal(resampled_means(values, 50, seed=5), again)
    assert not np.array_equal(resampled_means(values, 50, seed=6), again)


def test_interval_covers_the_truth_about_19_times_of_20_when_simulated():
    generator = np.random.default_rng(11)
    truth, experiments, covered = 0.2, 400, 0
    for seed in range(experiments):
        sample = (generator.random((150, 1)) < truth).astype(float)
        found = Bootstrap.draw(sample, 400, seed).interval(0)
        covered += found.low <= truth <= found.high
    assert 0.91 <= covered / experiments <= 0.98


def test_interval_agrees_with_the_normal_one_when_users_are_many():
    sample = (np.arange(2000) % 10 == 0).astype(float)[:, None]  # mean .1
    found = Bootstrap.draw(sample, 4000, seed=1).interval(0)
    half = 1.96 * (0.1 * 0.9 / 2000) ** 0.5
    assert found.value == pytest.approx(0.1)
    assert (found.low, found.high) == pytest.approx((0.1 - half, 0.1 + half), abs=0.001)


def test_p_values_are_uniform_when_two_models_are_equally_good():
    generator = np.random.default_rng(12)
    ps = np.array(
        [
            Bootstrap.draw(generator.random((100, 2)), 300, seed).difference(0, 1).p
            for seed in range(400)
        ]
    )
    assert 0.02 <= (ps <= 0.05).mean() <= 0.09
    assert 0.4 <= (ps <= 0.5).mean() <= 0.6


def test_difference_is_sharp_when_models_agree_on_most_users():
    # Far apart users, but the first model is better by .01 to .03 on each: pairing must show it.
    base = np.tile([0.0, 0.9], 50)
    better = base + np.tile([0.01, 0.01, 0.03, 0.03], 25)
    drawn = Bootstrap.draw(np.stack([better, base], axis=1), 999, seed=2)
    found = drawn.difference(0, 1)
    assert found.value == pytest.approx(0.02)
    assert 0.017 < found.low < 0.02 < found.high < 0.023
    assert found.p == pytest.approx(2 * 1 / 1000)
    own = drawn.interval(0)
    assert own.high - own.low > 0.1


def test_difference_swaps_its_sign_when_the_models_swap():
    drawn = Bootstrap.draw(np.random.default_rng(4).random((60, 2)), 200, seed=2)
    there, back = drawn.difference(0, 1), drawn.difference(1, 0)
    assert (there.value, there.low, there.high, there.p) == pytest.approx(
        (-back.value, -back.high, -back.low, back.p)
    )


def test_equal_models_do_not_differ_when_sums_round_differently():
    sample = np.random.default_rng(4).random(50)
    found = Bootstrap.draw(np.stack([sample, sample], axis=1), 200, seed=2).difference(0, 1)
    assert (found.value, found.p) == (0.0, 1.0)
    assert found.low < 0 < found.high


def test_interval_leaves_room_when_no_user_was_hit():
    # 100 misses: a share of up to 1 - .025 ** (1 / 100) = 3.62 % would still go unseen.
    found = Bootstrap.draw(np.zeros((100, 1)), 200, seed=2).interval(0)
    assert (found.low, found.high) == pytest.approx((0.0, 0.0362), abs=1e-4)


def test_interval_is_wide_and_marked_when_users_are_few():
    # Hoeffding for 8 users: sqrt(ln(40) / 16) = .480.
    drawn = Bootstrap.draw(np.array([[1.0], [0.0]] * 4), 200, seed=2)
    found = drawn.interval(0)
    assert not drawn.enough
    assert (found.low, found.high) == pytest.approx((0.5 - 0.480, 0.5 + 0.480), abs=1e-3)


def test_difference_is_no_evidence_when_users_are_few():
    # 8 users, difference 1/2: p = 2 exp(-8 · .25 / 2) = .7358; reach 2 · .480.
    values = np.array([[1.0, 0.0], [0.0, 0.0]] * 4)
    found = Bootstrap.draw(values, 200, seed=2).difference(0, 1)
    assert found.p == pytest.approx(2 * np.exp(-1))
    assert (found.low, found.high) == pytest.approx((0.5 - 0.960, 1.0), abs=1e-3)


def test_thirty_users_are_enough_when_twenty_nine_are_not():
    assert Bootstrap.draw(np.ones((30, 1)), 5, seed=1).enough
    assert not Bootstrap.draw(np.ones((29, 1)), 5, seed=1).enough


def test_holm_multiplies_the_smallest_by_all_and_never_falls():
    # .01 · 4, .02 · 3, .03 · 2, and .04 · 1 = .04, which would be less than the .06 before it
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
