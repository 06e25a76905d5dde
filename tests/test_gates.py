import math

import pytest

from slmrec.errors import ConfigError
from slmrec.gates import GatePolicy, Production, check_gates
from slmrec.policy import load_policy

NEWEST = 1000
POLICY = GatePolicy(
    min_users=200,
    min_gain_over_popularity=0.0,
    max_loss_to_transitions=0.0,
    max_loss_share_to_student=0.02,
    min_ndcg=0.01,
    max_batch1_p95_ms=5.0,
    max_latency_increase=0.15,
    max_megabytes=10.0,
    max_backbone_share_of_teacher=0.13,
    min_coverage=0.01,
    min_overlap_with_student=0.9,
    max_group_p=0.05,
)


def entry(name, ndcg, backbone, size=1_000_000):
    return {
        "name": name,
        "parameters_backbone": backbone,
        "bytes": size,
        "metrics": {"ndcg@10": {"value": ndcg, "ci95": [ndcg - 0.005, ndcg + 0.005]}},
        "overlap@10": 0.97,
        "lists": {"coverage": 0.2},
    }


def good(users=500):
    metrics = {
        "users": users,
        "items": 400,
        "models": [
            entry("teacher", 0.052, 800_000),
            entry("student", 0.050, 100_000),
            entry("int8", 0.0495, 100_000),
        ],
        "comparisons": [
            compared("int8", "popularity", [0.01, 0.03]),
            compared("int8", "transitions", [-0.002, 0.004]),
        ],
        "segments": [
            group("light", users=users - 100),
            group("heavy", users=100),
            group("new", enough_users=False, users=9),
            group("head", kind="target", users=users - 150),
            group("tail", kind="target", users=150),
        ],
    }
    return metrics, {"int8": {"batch1_p50": 0.2, "batch1_p95": 0.4}}


def group(name, *, kind="history", users=300, difference=-0.001, p=0.4, enough_users=True):
    pair = {"a": "int8", "b": "student", "difference": difference, "p_holm": p}
    return {
        "kind": kind,
        "name": name,
        "users": users,
        "enough_users": enough_users,
        "comparisons": [pair],
    }


def compared(a, b, interval):
    return {"a": a, "b": b, "metric": "ndcg@10", "difference": 0.0, "ci95": interval, "p": 0.5}


def check(metrics, timings, production=None, evaluated="data", judged="theirs", newest=NEWEST):
    gates = check_gates(
        metrics,
        timings,
        candidate="int8",
        newest=newest,
        sequences_digest="data",
        evaluated_digest=evaluated,
        judged_production=judged,
        production=production,
        policy=POLICY,
    )
    return {gate.name: gate for gate in gates}


def refused(*arguments, **keywords):
    return {name for name, gate in check(*arguments, **keywords).items() if not gate.passed}


def put(content, path, value):
    for key in path[:-1]:
        content = content[key]
    content[path[-1]] = value


def test_every_gate_passes_when_the_candidate_is_good():
    gates = check(*good())
    assert len(gates) == 15
    assert all(gate.passed for gate in gates.values())
    assert gates["close_to_student"].found == "1 %"  # 1 - .0495 / .05
    assert gates["backbone_share_of_teacher"].found == "12.5 %"
    assert gates["size"].found == "1 MB"


CANDIDATE = ("models", 2)
WORSE = [
    (("comparisons", 0, "ci95"), [0.0, 0.02], "above_popularity"),
    (("comparisons", 1, "ci95"), [-0.02, -0.001], "not_below_transitions"),
    (("models", 1, "metrics", "ndcg@10", "value"), 0.0506, "close_to_student"),
    ((*CANDIDATE, "bytes"), 10_000_001, "size"),
    ((*CANDIDATE, "overlap@10"), 0.89, "parity"),
    ((*CANDIDATE, "lists", "coverage"), 10 / 400, "coverage"),  # one list for everybody
    ((*CANDIDATE, "parameters_backbone"), 104_001, "backbone_share_of_teacher"),
]


@pytest.mark.parametrize(("path", "value", "gate"), WORSE)
def test_a_gate_refuses_when_its_number_is_too_bad(path, value, gate):
    metrics, timings = good()
    put(metrics, path, value)
    assert refused(metrics, timings) == {gate}


def test_too_few_users_refuse():
    assert refused(*good(users=199)) == {"users_evaluated"}
    assert refused(*good(users=200)) == set()


@pytest.mark.parametrize("value", [math.nan, math.inf, None, "fast", True, 10**400])
@pytest.mark.parametrize(
    ("path", "gate"),
    [
        (("comparisons", 0, "ci95"), "above_popularity"),
        (("comparisons", 1, "ci95", 1), "not_below_transitions"),
        (("models", 1, "metrics", "ndcg@10", "value"), "close_to_student"),
        ((*CANDIDATE, "bytes"), "size"),
        ((*CANDIDATE, "overlap@10"), "parity"),
        ((*CANDIDATE, "lists", "coverage"), "coverage"),
        (("segments", 0, "comparisons", 0, "difference"), "no_group_hurt"),
        (("segments", 1, "comparisons", 0, "p_holm"), "no_group_hurt"),
        (("models", 0, "parameters_backbone"), "backbone_share_of_teacher"),
    ],
)
def test_a_gate_refuses_when_its_number_is_none(path, gate, value):
    metrics, timings = good()
    put(metrics, path, value)
    assert refused(metrics, timings) == {gate}


@pytest.mark.parametrize("value", [5.001, math.nan, None])
def test_latency_refuses_when_it_is_too_long_or_missing(value):
    metrics, timings = good()
    timings["int8"]["batch1_p95"] = value
    assert refused(metrics, timings) == {"latency"}
    assert "latency" in refused(metrics, {})


def test_a_candidate_that_is_worse_for_one_group_alone_is_refused_by_that_gate():
    metrics, timings = good()
    metrics["segments"][0] = group("light", users=400, difference=-0.01, p=0.049)
    assert refused(metrics, timings) == {"no_group_hurt"}
    assert check(metrics, timings)["no_group_hurt"].found == "history: light -0.0100"
    metrics["segments"][0] = group("light", users=400, difference=-0.01, p=0.051)
    assert refused(metrics, timings) == set()
    metrics["segments"][0] = group("light", users=400, difference=0.01, p=0.001)  # better
    assert refused(metrics, timings) == set()


def test_groups_of_too_few_users_are_not_judged_and_none_at_all_refuses():
    metrics, timings = good()
    metrics["segments"][2] = group("new", difference=-0.5, p=0.0, enough_users=False)
    assert refused(metrics, timings) == set()
    for one in metrics["segments"]:
        one["enough_users"] = False
    assert refused(metrics, timings) == {"no_group_hurt"}


@pytest.mark.parametrize("place", [0, 1, 3, 4])
def test_a_group_that_was_left_out_refuses(place):
    metrics, timings = good()
    del metrics["segments"][place]
    assert refused(metrics, timings) == {"no_group_hurt"}
    gate = check(metrics, timings)["no_group_hurt"]
    assert gate.found == "not measured for every group"


@pytest.mark.parametrize(("newest", "passes"), [(NEWEST, True), (NEWEST + 1, False)])
def test_data_older_than_productions_refuse(newest, passes):
    gates = check(*against_production(), Production(3, "theirs", newest))
    assert gates["data_not_older"].passed is passes


@pytest.mark.parametrize(("newest", "known"), [(None, None), (480, None)])
def test_data_are_not_older_than_a_log_without_times(newest, known):
    gates = check(*against_production(), Production(3, "theirs", known), newest=newest)
    assert gates["data_not_older"].passed


def test_a_log_without_times_takes_the_place_of_none_that_has_them():
    gate = check(*against_production(), Production(3, "theirs", 480), newest=None)["data_not_older"]
    assert (gate.passed, gate.found) == (False, "a log without times")
    assert gate.required == "at 1970-01-01T00:08:00Z or later"


def test_times_are_told_as_dates_however_far_away():
    gates = check(*against_production(), Production(3, "theirs", 480), newest=10**12)
    assert gates["data_not_older"].found == "newest interaction at 33658-09-27T01:46:40Z"


@pytest.mark.parametrize("value", [math.nan, None, "many"])
def test_without_a_number_of_users_nothing_that_needs_it_passes(value):
    metrics, timings = good()
    metrics["users"] = value
    assert refused(metrics, timings) == {"users_evaluated", "coverage", "no_group_hurt"}


def test_coverage_is_a_share_of_what_so_many_lists_can_hold():
    metrics, timings = good(users=200)
    metrics["items"] = 400_000
    put(metrics, (*CANDIDATE, "lists", "coverage"), 0.002)  # 800 items of 2,000 places
    assert check(metrics, timings)["coverage"].found == "0.4"


def test_groups_that_do_not_say_how_many_users_they_have_are_judged():
    metrics, timings = good()
    del metrics["segments"][0]["enough_users"]
    metrics["segments"][0]["comparisons"] = []
    assert refused(metrics, timings) == {"no_group_hurt"}


def test_no_gate_passes_when_nothing_was_measured():
    # all but those that ask for nothing before there is a production model
    passed = {"data_not_older", "no_group_below_production", "latency_to_production"}
    assert len(refused({}, {}, evaluated="")) == 15 - len(passed)
    assert len(refused({}, {}, PRODUCTION, evaluated="", judged="")) == 15 - 1


def test_the_candidate_refuses_when_it_was_evaluated_on_other_data():
    assert refused(*good(), evaluated="other") == {"evaluated_on_these_data"}


def test_a_comparison_counts_with_its_sign_when_it_was_recorded_the_other_way_round():
    metrics, timings = good()
    metrics["comparisons"][0] = compared("popularity", "int8", [-0.03, -0.01])
    assert check(metrics, timings)["above_popularity"].found == "[+0.0100, +0.0300]"
    assert refused(metrics, timings) == set()
    metrics["comparisons"][0] = compared("popularity", "int8", [0.01, 0.03])
    assert refused(metrics, timings) == {"above_popularity"}


def test_another_metric_does_not_count_when_the_headline_is_missing():
    metrics, timings = good()
    metrics["comparisons"][0]["metric"] = "hr@10"
    assert refused(metrics, timings) == {"above_popularity"}


def against_production(interval=(-0.002, 0.001), **group_changes):
    """Metrics and timings in which production was judged on the same users."""
    metrics, timings = good()
    metrics["comparisons"].append(compared("int8", "production", list(interval)))
    for one in metrics["segments"]:
        own = dict(one["comparisons"][0], b="production")
        one["comparisons"].append(own)
    metrics["segments"][0]["comparisons"][1].update(group_changes)
    timings["production"] = {"batch1_p50": 0.2, "batch1_p95": 0.4}
    return metrics, timings


PRODUCTION = Production(3, "theirs", NEWEST)


def test_every_gate_passes_beside_a_production_that_is_no_better():
    gates = check(*against_production(), PRODUCTION)
    assert all(gate.passed for gate in gates.values())
    assert gates["not_below_production"].found == "[-0.0020, +0.0010]"
    assert gates["latency_to_production"].found == "0 %"


@pytest.mark.parametrize(("high", "passes"), [(0.0, True), (-0.0001, False)])
def test_a_loss_to_production_that_chance_does_not_explain_refuses(high, passes):
    found = refused(*against_production(interval=(-0.01, high)), PRODUCTION)
    assert found == (set() if passes else {"not_below_production"})


def test_a_loss_to_production_in_one_group_alone_is_refused_by_that_gate():
    found = against_production(difference=-0.02, p_holm=0.01)
    assert refused(*found, PRODUCTION) == {"no_group_below_production"}


@pytest.mark.parametrize(("milliseconds", "passes"), [(0.23, True), (0.24, False)])
def test_a_candidate_that_is_a_fifth_slower_than_production_is_refused(milliseconds, passes):
    metrics, timings = against_production()
    timings["int8"]["batch1_p50"] = milliseconds
    found = refused(metrics, timings, PRODUCTION)
    assert found == (set() if passes else {"latency_to_production"})


def test_a_production_that_took_no_part_in_the_evaluation_refuses():
    gates = check(*good(), PRODUCTION)
    assert {name for name, gate in gates.items() if not gate.passed} == {
        "not_below_production",
        "no_group_below_production",
        "latency_to_production",
    }


@pytest.mark.parametrize(("judged", "found"), [("older", "model older"), ("", "model none")])
def test_an_evaluation_beside_another_model_than_serves_now_refuses(judged, found):
    gates = check(*against_production(), PRODUCTION, judged=judged)
    assert not gates["not_below_production"].passed
    assert gates["not_below_production"].found == f"compared with {found}"
    assert "version 3 (theirs)" in gates["not_below_production"].required


def test_the_floor_is_the_measure_where_nothing_serves_yet():
    gate = check(*good())["not_below_production"]
    assert gate.passed
    assert gate.required == "at least 0.01"
    assert "no production yet" in gate.evidence


def test_the_committed_policies_are_read_when_they_are_strict(tmp_path):
    from components.runtime import ROOT
    from slmrec.drift.thresholds import DriftThresholds

    assert load_policy(ROOT / "validation" / "gates.yaml", GatePolicy).min_users > 0
    load_policy(ROOT / "validation" / "drift.yaml", DriftThresholds)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("min_users: 10\nmin_user: 3\n", "min_user: unknown key; did you mean 'min_users'"),
        ("min_users: -1\n", "min_users: found -1"),
        ("[", "not valid YAML"),
        ("", "whole configuration"),
        ("!!python/object/apply:os.getcwd []", "not valid YAML"),
    ],
)
def test_a_policy_is_refused_when_it_is_not_what_it_should_be(tmp_path, text, words):
    (tmp_path / "gates.yaml").write_text(text)
    with pytest.raises(ConfigError, match=words):
        load_policy(tmp_path / "gates.yaml", GatePolicy)


def test_a_policy_is_refused_when_the_file_is_missing(tmp_path):
    with pytest.raises(ConfigError, match="no such policy file"):
        load_policy(tmp_path / "none.yaml", GatePolicy)
