import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slmrec.errors import DataError
from slmrec.evaluation.ranking import Ranking, rank_targets, rank_users, top_k

NOTHING = np.empty(0, dtype=np.int32)


def histories(*rows):
    return [np.array(row, dtype=np.int32) for row in rows]


def table(*rows):
    return np.array(rows, dtype=np.float32)


def test_rank_counts_better_items_when_all_scores_differ():
    # Items 1..4 score .1 .4 .3 .2: item 3 is second, item 1 is last.
    scores = table([9, 0.1, 0.4, 0.3, 0.2], [9, 0.1, 0.4, 0.3, 0.2])
    ranks = rank_targets(scores, [NOTHING, NOTHING], np.array([3, 1]), exclude_seen=True)
    assert ranks.tolist() == [2, 4]


def test_equal_scores_rank_by_item_index_when_a_model_knows_nothing():
    scores = table(*[[0, 5, 5, 5]] * 3)
    ranks = rank_targets(scores, [NOTHING] * 3, np.array([1, 2, 3]), exclude_seen=True)
    assert ranks.tolist() == [1, 2, 3]


def test_seen_items_do_not_count_when_they_are_excluded():
    scores = table([0, 4, 3, 2, 1])
    seen = histories([1, 2])
    assert rank_targets(scores, seen, np.array([4]), exclude_seen=True).tolist() == [2]
    assert rank_targets(scores, seen, np.array([4]), exclude_seen=False).tolist() == [4]


def test_target_is_ranked_when_it_was_seen_before():
    scores = table([0, 4, 3, 2, 1])
    assert rank_targets(scores, histories([1, 2]), np.array([2]), exclude_seen=True).tolist() == [1]


def test_excluded_items_stay_behind_when_the_model_gives_minus_infinity():
    scores = table([0, 1, -np.inf, -np.inf])
    assert rank_targets(scores, histories([2]), np.array([3]), exclude_seen=True).tolist() == [2]
    assert top_k(scores, histories([2]), 3, exclude_seen=True).tolist() == [[1, 3, 0]]


def test_list_is_padded_with_zero_when_too_few_items_are_left():
    found = top_k(table([9, 1, 2]), histories([1]), 4, exclude_seen=True)
    assert found.tolist() == [[2, 0, 0, 0]]


def test_lists_are_empty_when_nobody_or_nothing_is_asked_for():
    scores = np.zeros((2, 700), dtype=np.float32)
    assert top_k(scores[:0], [], 3, exclude_seen=True).shape == (0, 3)
    assert top_k(scores, [NOTHING] * 2, 0, exclude_seen=True).shape == (2, 0)
    assert len(rank_targets(scores[:0], [], np.empty(0, np.int32), exclude_seen=True)) == 0


def test_list_takes_the_smaller_indices_when_a_tie_crosses_its_end():
    scores = table([0, 1, 2, 1, 3, 1])
    assert top_k(scores, [NOTHING], 4, exclude_seen=True).tolist() == [[4, 2, 1, 3]]


@given(
    scores=st.lists(st.integers(0, 3), min_size=1, max_size=12),
    seen=st.sets(st.integers(1, 12)),
    k=st.integers(1, 14),
)
def test_list_and_ranks_agree_with_sorting_when_scores_tie_often(scores, seen, k):
    items = range(1, len(scores) + 1)
    seen = sorted(seen & set(items))
    row = table([99, *scores])
    ordered = sorted((i for i in items if i not in seen), key=lambda i: (-scores[i - 1], i))

    found = top_k(row, histories(seen), k, exclude_seen=True)[0].tolist()
    assert found == (ordered + [0] * k)[:k]
    for place, item in enumerate(ordered, start=1):
        rank = rank_targets(row, histories(seen), np.array([item]), exclude_seen=True)
        assert rank.tolist() == [place]


@pytest.mark.parametrize("exclude_seen", [True, False])
@pytest.mark.parametrize("values", [2, 5, 60, 10**6])
@pytest.mark.parametrize("items", [9, 300, 2011])
def test_lists_and_ranks_are_those_of_a_full_sort_when_catalogues_and_ties_vary(
    items, values, exclude_seen
):
    generator = np.random.default_rng(items + values)
    scores = generator.integers(0, values, size=(40, items + 1)).astype(np.float32)
    scores[:20][generator.random((20, items + 1)) < 0.9] = -np.inf  # hardly anything has a score
    seen = [generator.integers(1, items + 1, generator.integers(0, 30)) for _ in scores]
    seen = [history.astype(np.int32) for history in seen]
    targets = generator.integers(1, items + 1, len(scores)).astype(np.int32)
    before = scores.copy()

    ranks = rank_targets(scores, seen, targets, exclude_seen=exclude_seen)
    lists = top_k(scores, seen, 10, exclude_seen=exclude_seen)
    for row, history in enumerate(seen):
        left = np.setdiff1d(np.arange(1, items + 1), history if exclude_seen else [])
        listed = left[np.lexsort((left, -scores[row, left]))]
        assert lists[row].tolist() == (listed.tolist() + [0] * 10)[:10]
        ranked = np.union1d(left, targets[row])
        ordered = ranked[np.lexsort((ranked, -scores[row, ranked]))]
        assert ranks[row] == 1 + ordered.tolist().index(targets[row])
    assert np.array_equal(scores, before)


def test_list_is_in_the_order_of_items_when_all_that_can_be_listed_is_tied():
    scores = np.zeros((2, 5001), dtype=np.float32)
    scores[1, 4000] = 1
    found = top_k(scores, histories([2, 3], []), 4, exclude_seen=True)
    assert found.tolist() == [[1, 4, 5, 6], [4000, 1, 2, 3]]


def test_zeros_are_equal_when_they_differ_in_sign():
    scores = table([0, 0.0, -0.0, 0.0, -0.0, -1e-45])
    targets = np.array([3])
    assert rank_targets(scores, [NOTHING], targets, exclude_seen=True).tolist() == [3]
    assert top_k(scores, [NOTHING], 5, exclude_seen=True).tolist() == [[1, 2, 3, 4, 5]]


@pytest.mark.parametrize("bits", [0x7FC00000, 0xFFC00000, 0xFFFFFFFF, 0x7F800001])
def test_scores_are_refused_when_one_is_nan_of_any_kind(bits):
    scores = table([0, 1, 2, 3])
    scores.view(np.uint32)[0, 2] = bits
    with pytest.raises(DataError, match=r"scores: 1 of 3 scores are NaN, .* item index 2"):
        rank_targets(scores, [NOTHING], np.array([1]), exclude_seen=True)


@pytest.mark.parametrize(
    ("scores", "seen", "targets", "said"),
    [
        (np.zeros((1, 5)), [[]], [2], "1 rows of float64"),
        (np.zeros((3, 5), np.float32), [[]], [2, 2, 2], "3 rows of float32 for 3 targets and 1 "),
        (np.zeros((2, 5), np.float32), [[], []], [2], "for 1 targets and 2 histories"),
        (np.zeros((1, 5), np.float32), [[7]], [2], "histories with items 7 to 7, expected 0 to 4"),
        (np.zeros((1, 5), np.float32), [[]], [5], "targets with items 5 to 5, expected 0 to 4"),
        (np.zeros((1, 5), np.float32), [[-1]], [2], "histories with items -1 to -1"),
    ],
)
def test_scores_are_refused_when_rows_or_items_do_not_fit(scores, seen, targets, said):
    with pytest.raises(DataError, match=said):
        rank_targets(scores, histories(*seen), np.array(targets), exclude_seen=True)


def test_infinities_are_the_ends_of_a_list_when_scores_have_them():
    scores = table([0, -np.inf, 5, np.inf, np.finfo(np.float32).min, np.finfo(np.float32).max])
    assert top_k(scores, [NOTHING], 5, exclude_seen=True).tolist() == [[3, 5, 2, 4, 1]]


def test_ranks_are_the_same_when_there_is_another_number_of_threads(
    fixed_scorer, leave_one_out, monkeypatch
):
    generator = np.random.default_rng(3)
    sequences = leave_one_out(generator.integers(1, 41, size=(50, 6)).tolist(), 40)
    table_of_items = generator.standard_normal((41, 41)).astype(np.float32)
    model = fixed_scorer("student", lambda history: table_of_items[history[-1]].tolist())
    found, told = [], []
    for threads in (1, 3):
        monkeypatch.setattr("slmrec.evaluation.ranking.usable_threads", lambda many=threads: many)
        ranked = rank_users(
            model,
            sequences,
            *sequences.targets("test"),
            exclude_seen=True,
            chunk_bytes=7 * 4 * 41,
            report=lambda ranks: told.append(ranks.tolist()),
        )
        found.append((ranked.ranks.tolist(), ranked.lists.tolist()))
    assert found[0] == found[1]
    assert [len(ranks) for ranks in told] == 2 * [7, 14, 21, 28, 35, 42, 49, 50]
    assert told[-1] == told[7] == found[0][0]


def test_scores_may_be_shared_and_read_only_when_they_are_ranked(fixed_scorer, leave_one_out):
    generator = np.random.default_rng(5)
    sequences = leave_one_out(generator.integers(1, 41, size=(50, 6)).tolist(), 40)
    row = generator.integers(0, 9, size=41).astype(np.float32)

    class Shared(fixed_scorer):
        def scores(self, histories):
            return np.broadcast_to(row, (len(histories), len(row)))

    targets = sequences.targets("test")
    copied = fixed_scorer("popularity", lambda history: row.tolist())
    mine = rank_users(Shared("popularity", None), sequences, *targets, exclude_seen=True)
    theirs = rank_users(copied, sequences, *targets, exclude_seen=True)
    assert mine.ranks.tolist() == theirs.ranks.tolist()
    assert mine.lists.tolist() == theirs.lists.tolist()


def test_model_is_named_when_a_seen_item_alone_is_nan(fixed_scorer, leave_one_out):
    sequences = leave_one_out([[1, 2, 3, 1]], 3)
    broken = fixed_scorer("teacher", lambda history: [0, 1, 2, float("nan")])
    with pytest.raises(DataError, match=r"model 'teacher': 1 of 3 scores are NaN"):
        rank_users(broken, sequences, *sequences.targets("test"), exclude_seen=True)


def test_model_is_named_when_its_scores_are_nan(fixed_scorer, leave_one_out):
    sequences = leave_one_out([[1, 2, 3, 1]], 3)
    broken = fixed_scorer("teacher", lambda history: [0, 1, float("nan"), 2])
    with pytest.raises(DataError, match=r"model 'teacher'.*NaN.*item index 2 after.* 3 items"):
        rank_users(broken, sequences, *sequences.targets("test"), exclude_seen=True)


def test_padding_may_be_nan_when_the_items_are_numbers(fixed_scorer, leave_one_out):
    sequences = leave_one_out([[1, 1, 2, 3]], 3)
    scorer = fixed_scorer("student", lambda history: [float("nan"), 1, 2, 3])
    ranking = rank_users(scorer, sequences, *sequences.targets("test"), exclude_seen=True)
    assert ranking.ranks.tolist() == [1]


def test_model_is_named_when_it_knows_another_catalogue(fixed_scorer, leave_one_out):
    sequences = leave_one_out([[1, 2, 3, 1]], 3)
    other = fixed_scorer("sasrec", lambda history: [0, 1])
    with pytest.raises(DataError, match=r"'sasrec'.*\(1, 2\).*expected \(1, 4\)"):
        rank_users(other, sequences, *sequences.targets("test"), exclude_seen=True)


def test_ranks_are_the_same_when_chunks_are_small(fixed_scorer, leave_one_out):
    generator = np.random.default_rng(3)
    sequences = leave_one_out(generator.integers(1, 8, size=(9, 5)).tolist(), 7)
    targets = sequences.targets("test")

    def by_history(history):
        return [(item * int(history.sum())) % 5 for item in range(8)]

    small, whole = fixed_scorer("a", by_history), fixed_scorer("a", by_history)
    chunked = rank_users(small, sequences, *targets, exclude_seen=True, chunk_bytes=2 * 4 * 8)
    at_once = rank_users(whole, sequences, *targets, exclude_seen=True)
    assert small.batches == [2, 2, 2, 2, 1]
    assert whole.batches == [9]
    assert chunked.ranks.tolist() == at_once.ranks.tolist()
    assert chunked.lists.tolist() == at_once.lists.tolist()


def test_overlap_is_the_share_of_the_other_models_lists():
    ranks = np.ones(3, dtype=np.int32)
    theirs = Ranking(ranks, np.array([[1, 2, 3], [4, 0, 0], [0, 0, 0]], dtype=np.int32))
    mine = Ranking(ranks, np.array([[3, 9, 1], [5, 4, 0], [7, 0, 0]], dtype=np.int32))
    # two of three, one of one, and nothing was listed for the last
    assert mine.overlap(theirs) == pytest.approx((2 / 3 + 1 + 1) / 3)
    assert theirs.overlap(theirs) == 1.0


def test_overlap_is_the_same_when_lists_are_compared_in_parts(monkeypatch):
    generator = np.random.default_rng(4)
    mine, theirs = (
        Ranking(
            np.ones(9, np.int32), generator.permuted(np.tile(np.arange(8), (9, 1)), axis=1)[:, :4]
        )
        for _ in range(2)
    )
    whole = mine.overlap(theirs)
    monkeypatch.setattr("slmrec.evaluation.ranking._OVERLAP_ROWS", 2)
    assert mine.overlap(theirs) == whole
