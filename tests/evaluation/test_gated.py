"""From ranks to refusal: models of known quality, evaluated and put through the committed gates."""

import pytest

from slmrec.config import EvaluateModels
from slmrec.evaluation.comparisons import Contender
from slmrec.evaluation.evaluate import evaluate
from slmrec.gates import GatePolicy, Production, check_gates
from slmrec.policy import load_policy
from tests.conftest import ROOT

POLICY = load_policy(ROOT / "validation" / "gates.yaml", GatePolicy)
USERS, KINDS, LEVELS = 600, 10, 20
ITEMS = KINDS * LEVELS
CONFIG = EvaluateModels(cutoffs=(1, 10), resamples=500, probe_users=60)
LIGHT, MEDIUM, HEAVY = 4, 6, 8
"""Items of a history; a third of the users each, alike in all else."""
SERVES = Production(7, "theirs", newest=100)
FAST = {"batch1_p50": 1.0, "batch1_p95": 2.0}


def item(kind, level):
    """People touch items of one kind: those of low levels, then that of level 10."""
    return 1 + KINDS * level + kind


def histories():
    for user in range(USERS):
        kind, length = user % KINDS, (LIGHT, MEDIUM, HEAVY)[user // KINDS % 3]
        yield [item(kind, level) for level in (*range(length - 1), 10)]


def model(light, medium, heavy):
    """Lists the ten items of level 10 and more, the target at these places."""
    places = {LIGHT: light, HEAVY: heavy}

    def scores(history):
        kind = (history[0] - 1) % KINDS
        place = places.get(len(history) + 1, medium)
        levels = list(range(11, LEVELS))
        levels.insert(place - 1, 10)
        found = [0.0] * (ITEMS + 1)
        for score, level in enumerate(reversed(levels), 1):
            found[item(kind, level)] = float(score)
        return found

    return scores


@pytest.fixture
def judge(leave_one_out, fixed_scorer):
    def judge(candidate, student, production, *, newest=100, slower=1.0):
        sequences = leave_one_out(list(histories()), ITEMS)

        def contender(name, kind, places, backbone=4):
            scorer = fixed_scorer(name, model(*places))
            scorer.parameters_backbone = backbone
            return Contender(name, kind, scorer)

        contenders = [
            contender("popularity", "baseline", (10, 10, 10)),
            contender("transitions", "baseline", (8, 8, 8)),
            contender("teacher", "teacher", (1, 1, 1), backbone=100),
            contender("student", "student", student),
            contender("int8", "servable", candidate),
            contender("production", "production", production),
        ]
        metrics = evaluate(contenders, sequences, CONFIG, production="7").results
        timings = {"int8": {**FAST, "batch1_p50": slower}, "production": FAST}
        gates = check_gates(
            metrics,
            timings,
            candidate="int8",
            newest=newest,
            sequences_digest="data",
            evaluated_digest="data",
            judged_production="theirs",
            production=SERVES,
            policy=POLICY,
        )
        return {gate.name: gate.found for gate in gates if not gate.passed}

    return judge


GOOD = (2, 2, 2)


def test_nothing_refuses_a_candidate_that_is_as_good_as_what_serves(judge):
    assert judge(GOOD, GOOD, GOOD) == {}


def test_a_loss_to_production_for_light_users_alone_is_refused_by_that_gate(judge):
    # What light users lose heavy ones gain: over all users there is no difference.
    refused = judge((3, 2, 1), (3, 2, 1), (1, 2, 3))
    assert set(refused) == {"no_group_below_production"}
    assert refused["no_group_below_production"].startswith("history: light -0.5")


def test_a_loss_by_compression_for_light_users_alone_is_refused_by_that_gate(judge):
    refused = judge((3, 2, 1), (1, 2, 3), (3, 2, 1))
    assert set(refused) == {"no_group_hurt"}


def test_a_candidate_that_is_a_fifth_slower_is_refused_by_that_gate(judge):
    assert set(judge(GOOD, GOOD, GOOD, slower=1.2)) == {"latency_to_production"}


def test_a_candidate_of_stale_data_is_refused_by_that_gate(judge):
    assert set(judge(GOOD, GOOD, GOOD, newest=99)) == {"data_not_older"}
