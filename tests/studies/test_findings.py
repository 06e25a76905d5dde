"""The sentences follow the numbers."""

import pytest

from slmrec.studies.ablation import distillation, terms, worth_learning_from
from slmrec.studies.certificate import certificate_finding
from slmrec.studies.depth import cutting, influence_finding, redundancy
from slmrec.studies.distillation import findings, with_seed


def depths(make_row, half_versus_deepest, deepest: float = 0.2):
    return {
        1: make_row(0.1, "trained-1", trained_4=(-0.1, -0.11, -0.09)),
        2: make_row(deepest + half_versus_deepest[0], "trained-2", trained_4=half_versus_deepest),
        4: make_row(deepest, "trained-4"),
    }


class TestRedundancy:
    # 5 % of 0.2 is 0.01
    def test_holds_when_half_the_layers_surely_lose_little(self, make_row) -> None:
        verdict, sentence = redundancy(depths(make_row, (-0.004, -0.009, 0.001)))
        assert verdict == "holds"
        assert "2 layers reach 98.0 % of the NDCG@10 of 4" in sentence

    def test_fails_when_every_such_depth_surely_loses_much(self, make_row) -> None:
        verdict, sentence = redundancy(depths(make_row, (-0.03, -0.04, -0.02)))
        assert verdict == "fails"
        assert "2 layers, loses 15.0 % of NDCG@10" in sentence

    def test_is_undecided_when_the_interval_holds_both(self, make_row) -> None:
        verdict, sentence = redundancy(depths(make_row, (-0.01, -0.03, 0.01)))
        assert verdict == "undecided"
        assert "neither confirmed nor refuted" in sentence

    def test_is_undecided_when_only_more_than_half_was_measured(self, make_row) -> None:
        rows = {3: make_row(0.2, trained_4=(0, -0.001, 0.001)), 4: make_row(0.2, "trained-4")}
        verdict, sentence = redundancy(rows)
        assert verdict == "undecided"
        assert "no depth of at most half" in sentence

    def test_is_undecided_when_the_deepest_knows_nothing(self, make_row) -> None:
        verdict, sentence = redundancy(depths(make_row, (0, 0, 0), deepest=0.0))
        assert verdict == "undecided"
        assert "NDCG@10 of 0" in sentence


class TestCutting:
    def test_names_the_worst_loss_and_what_training_at_that_depth_gives(self, make_row) -> None:
        trained = {1: make_row(0.18), 2: make_row(0.2, "trained-2")}
        cut = {1: make_row(0.05, trained_2=(-0.15, -0.17, -0.13))}
        assert "keep 25.0 % of its NDCG@10" in cutting(trained, cut)
        assert "reaches 90.0 %" in cutting(trained, cut)

    def test_tells_of_no_loss_when_the_intervals_hold_zero(self, make_row) -> None:
        trained = {1: make_row(0.18), 2: make_row(0.2, "trained-2")}
        cut = {1: make_row(0.19, trained_2=(-0.01, -0.03, 0.01))}
        assert "costs nothing that these users could show" in cutting(trained, cut)


def test_block_influence_names_least_and_most() -> None:
    sentence = influence_finding([0.3, 0.1, 0.2])
    assert "layer 2 changes its input least (0.100) and layer 1 most (0.300)" in sentence


class TestAblation:
    @pytest.mark.parametrize(
        ("found", "words"),
        [
            ((0.02, 0.01, 0.03), "is better than"),
            ((-0.02, -0.03, -0.01), "is worse than"),
            ((0.01, -0.01, 0.03), "cannot be told from"),
        ],
    )
    def test_verdict_is_the_side_of_the_interval(self, make_row, found, words) -> None:
        rows = {
            "ce-fresh": make_row(0.2, "ce-fresh"),
            "all": make_row(0.2 + found[0], "all", ce_fresh=found),
        }
        sentence = distillation(rows)
        assert f"`all` {words} a model of its size" in sentence
        assert f"{100 * found[0] / 0.2:+.1f} %" in sentence

    def test_the_best_variant_speaks_when_all_was_not_trained(self, make_row) -> None:
        rows = {
            "teacher": make_row(0.9, ce_fresh=(0.7, 0.6, 0.8)),
            "ce-fresh": make_row(0.2),
            "ce": make_row(0.2, ce_fresh=(0.0, -0.1, 0.1)),
            "+norm": make_row(0.3, ce_fresh=(0.1, 0.05, 0.15)),
        }
        sentence = distillation(rows)
        assert sentence.startswith("The student `+norm` is better")
        assert sentence.endswith("It is the best of 2 on these very users, which flatters it.")

    def test_terms_are_grouped_by_what_their_intervals_say(self, make_row) -> None:
        rows = {
            "ce": make_row(0.2),
            "+cosine": make_row(0.3, ce=(0.1, 0.05, 0.15)),
            "+norm": make_row(0.2, ce=(0.0, -0.1, 0.1)),
            "+logits": make_row(0.2, ce=(0.0, -0.1, 0.1)),
        }
        assert terms(rows) == [
            "On its own: `+cosine` is better than `ce`; `+norm` and `+logits` are not told from `ce`."
        ]
        assert terms({"ce": make_row(0.2)}) == []

    def test_a_teacher_that_is_no_better_is_told_of(self, make_row) -> None:
        better = {"teacher": make_row(0.3, ce_fresh=(0.1, 0.05, 0.15))}
        unclear = {"teacher": make_row(0.3, ce_fresh=(0.1, -0.05, 0.25))}
        worse = {"teacher": make_row(0.1, ce_fresh=(-0.1, -0.15, -0.05))}
        assert worth_learning_from(better) == []
        assert "is not shown to be better" in worth_learning_from(unclear)[0]
        assert "is not better" in worth_learning_from(worse)[0]


class TestCertificate:
    @staticmethod
    def shares(certified: float, by_pair: float, same: float) -> dict:
        names = ("certified", "certified_by_pair", "same_first")
        values = (certified, by_pair, same)
        return {
            name: {"value": value, "ci95": [value, value]}
            for name, value in zip(names, values, strict=True)
        }

    def test_tells_how_much_of_the_agreement_is_certified(self) -> None:
        sentence = certificate_finding(self.shares(0.1, 0.4, 0.8))
        assert "for 10.0 % of test users, and for 40.0 % by the bound on pairs" in sentence
        assert "finds 50.0 % of the agreement" in sentence

    def test_tells_that_nobody_is_certified(self) -> None:
        sentence = certificate_finding(self.shares(0, 0, 0.8))
        assert sentence.startswith("No test user's first item is certified")

    def test_tells_when_pairs_add_nobody(self) -> None:
        assert "adds nobody" in certificate_finding(self.shares(0.4, 0.4, 0.8))


class TestDistillation:
    """The student against its teacher, the same model trained directly, SASRec and transitions."""

    def rows(self, make_row, student, direct, seeds):
        apart = {"transitions": (0.05, 0.04, 0.06), "sasrec": (0.02, 0.01, 0.03)}
        teacher = make_row(0.2, "teacher", direct=(0.01, 0.005, 0.015), **apart)
        mine = make_row(
            student, "student", direct=direct, teacher=(student - 0.2, -0.01, 0.01), **apart
        )
        mine["by_seed"] = [student + difference for difference in seeds]
        other = make_row(0.19, "direct")
        other["by_seed"] = [student] * len(seeds)
        sasrec, transitions = make_row(0.18, "sasrec"), make_row(0.15, "transitions")
        return {row["name"]: row for row in (teacher, mine, other, sasrec, transitions)}

    def test_better_on_average_but_not_with_every_seed_is_said(self, make_row) -> None:
        rows = self.rows(make_row, 0.2, (0.003, 0.001, 0.005), (0.006, -0.002, 0.005))
        first = findings(rows, 5)[0]
        assert first.startswith(
            "The student is better than the same model trained directly (+0.0030"
        )
        assert "by seed +0.0060 -0.0020 +0.0050" in first
        assert first.endswith("though not with every seed.")

    def test_better_with_every_seed_needs_no_such_word(self, make_row) -> None:
        rows = self.rows(make_row, 0.2, (0.003, 0.001, 0.005), (0.003, 0.002, 0.004))
        assert "though" not in findings(rows, 5)[0]

    def test_worse_and_undecided_are_told_apart(self, make_row) -> None:
        worse = self.rows(make_row, 0.2, (-0.003, -0.005, -0.001), (-0.003,))
        unclear = self.rows(make_row, 0.2, (0.001, -0.001, 0.003), (0.001,))
        assert "is worse than the same model" in findings(worse, 1)[0]
        assert "cannot be told from the same model" in findings(unclear, 1)[0]

    @pytest.mark.parametrize(
        ("student", "words"), [(0.199, "as good as"), (0.197, "not as good as")]
    )
    def test_one_percent_below_its_teacher_is_as_good(self, make_row, student, words) -> None:
        sentence = findings(self.rows(make_row, student, (0.0, -0.1, 0.1), (0.0,)), 5)[2]
        assert f"The student is {words} its teacher: {100 * student / 0.2:.1f} %" in sentence
        assert "100.0 % of its backbone parameters (500 % of one of its 5 networks)" in sentence


def test_every_training_of_a_run_begins_from_the_seed(make_job) -> None:
    config = with_seed(make_job("distillation").config, 217)
    for section in (config.pretrain_items, config.train_teacher, config.distill_student):
        assert section.training.seed == 217
