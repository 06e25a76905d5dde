import math

import numpy as np
import pytest

from slmrec.evaluation.metrics import metric_names, per_user

RANKS = np.array([1, 3, 10, 11])


def test_hit_rate_counts_ranks_up_to_the_cutoff_when_they_straddle_it():
    metrics = per_user(RANKS, (1, 10))
    assert metrics["hr@1"].tolist() == [1, 0, 0, 0]
    assert metrics["hr@10"].tolist() == [1, 1, 1, 0]


def test_ndcg_is_one_over_log2_of_rank_plus_one_when_the_target_is_within_the_cutoff():
    found = per_user(RANKS, (10,))["ndcg@10"]
    assert found == pytest.approx([1.0, 1 / 2, 1 / math.log2(11), 0.0])


def test_mrr_has_no_cutoff_when_the_rank_is_deep():
    assert per_user(RANKS, (10,))["mrr"] == pytest.approx([1, 1 / 3, 1 / 10, 1 / 11])


def test_mrr_at_a_cutoff_is_nothing_beyond_it():
    assert per_user(RANKS, (10,))["mrr@10"] == pytest.approx([1, 1 / 3, 1 / 10, 0])


def test_headline_cutoff_is_added_when_the_configuration_leaves_it_out():
    assert metric_names((5,)) == [
        *("hr@5", "ndcg@5", "mrr@5", "hr@10", "ndcg@10", "mrr@10"),
        "mrr",
    ]
    assert list(per_user(RANKS, (5,))) == metric_names((5,))
