"""Row 11: a gate whose input is missing, or is not what it should be, refuses."""

import copy
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from slmrec.artifacts import open_artifact
from slmrec.errors import ArtifactError
from slmrec.gates import NEW, WHOLE, Gate, GatePolicy, Production, check_gates
from slmrec.policy import load_policy
from tests.components.test_promote_model import Workshop
from tests.faults.conftest import Tell
from tests.test_gates import POLICY, good

Steps = tuple[str | int, ...]
MISSING = object()
WRONG: tuple[Any, ...] = (MISSING, None, math.nan, math.inf, -math.inf, "0.5", True, {}, [], [0.5])
PRODUCTION = Production(number=7, model_digest="theirs", newest=1)
LABELS = {"name", "kind", "enough_users"}
"""Of a group: how it is called, and that it is too small to be judged, without which it is judged."""


class Watched(dict[str, Any]):
    """A JSON object that remembers which of its values were asked for, and where they are."""

    def __init__(self, content: dict[str, Any], place: Steps, seen: set[Steps]) -> None:
        super().__init__(
            {key: watched(value, (*place, key), seen) for key, value in content.items()}
        )
        self._place, self._seen = place, seen

    def __getitem__(self, key: str) -> Any:
        self._seen.add((*self._place, key))
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self._seen.add((*self._place, key))
        return super().get(key, default)


def watched(content: Any, place: Steps, seen: set[Steps]) -> Any:
    """The same JSON value, watched."""
    if isinstance(content, dict):
        return Watched(content, place, seen)
    if isinstance(content, list):
        return [watched(value, (*place, index), seen) for index, value in enumerate(content)]
    return content


def judge(
    documents: dict[str, Any], candidate: str, production: Production | None, policy: GatePolicy
) -> list[Gate]:
    return check_gates(
        documents["metrics"],
        documents["timings"],
        candidate=candidate,
        newest=2,
        sequences_digest="data",
        evaluated_digest="data",
        judged_production="theirs",
        production=production,
        policy=policy,
    )


def mutations(documents: dict[str, Any], steps: Steps) -> Iterator[tuple[Any, dict[str, Any]]]:
    """The documents with something wrong, or nothing, in one place."""
    for wrong in WRONG:
        mutated = copy.deepcopy(documents)
        place = mutated
        for step in steps[:-1]:
            place = place[step]
        if place[steps[-1]] == wrong and type(place[steps[-1]]) is type(wrong):
            continue
        if wrong is MISSING:
            del place[steps[-1]]
        else:
            place[steps[-1]] = wrong
        yield wrong, mutated


def exists(documents: Any, steps: Steps) -> bool:
    for step in steps:
        if not (isinstance(documents, dict) and step in documents) and not (
            isinstance(documents, list) and isinstance(step, int) and step < len(documents)
        ):
            return False
        documents = documents[step]
    return True


def refusals(
    metrics: dict[str, Any], timings: dict[str, Any], candidate: str, policy: GatePolicy
) -> tuple[int, int, set[str]]:
    """Take away, one after another, all that the gates look at; places, mutations, gates refused."""
    documents = {"metrics": metrics, "timings": timings}
    places, tried, refused = 0, 0, set[str]()
    for production in (None, PRODUCTION):
        seen: set[Steps] = set()
        gates = judge(
            {name: watched(content, (name,), seen) for name, content in documents.items()},
            candidate,
            production,
            policy,
        )
        assert all(gate.passed for gate in gates), [gate for gate in gates if not gate.passed]
        lists = {steps[:length] for steps in seen for length in range(1, len(steps))}
        looked_at = {steps for steps in seen | lists if len(steps) > 1 and exists(documents, steps)}
        for steps in sorted(looked_at, key=str):
            of_a_group = steps[1] == "segments" and len(steps) == 4
            if of_a_group and steps[-1] in LABELS:
                continue
            if _unused(documents, steps, candidate, production):
                continue
            places += 1
            for wrong, mutated in mutations(documents, steps):
                found = {
                    gate.name
                    for gate in judge(mutated, candidate, production, policy)
                    if not gate.passed
                }
                assert found, (steps, wrong)
                refused |= found
                tried += 1
    return places, tried, refused


def _unused(
    documents: dict[str, Any], steps: Steps, candidate: str, production: Production | None
) -> bool:
    """Whether a place was looked at only to see that it is not the one that counts."""
    if "comparisons" in steps and len(steps) > steps.index("comparisons") + 1:
        pair: Any = documents
        for step in steps[: steps.index("comparisons") + 2]:
            pair = pair[step]
        needed = {"student"} if steps[1] == "segments" else {"popularity", "transitions"}
        needed |= {"production"} if production else set()
        if steps[1] == "segments":
            group: Any = documents["metrics"]["segments"][steps[2]]
            if group.get("enough_users") is False:
                return True
        mine = candidate in (pair["a"], pair["b"]) and {pair["a"], pair["b"]} & needed
        return not mine or pair["metric"] != "ndcg@10"
    if steps[1] == "segments" and len(steps) > 2:
        group = documents["metrics"]["segments"][steps[2]]
        # Nothing says how many users are new: they are in another group of their kind as well.
        return group["kind"] not in WHOLE or group["name"] == NEW
    if steps[1] == "models" and len(steps) > 2:
        name = documents["metrics"]["models"][steps[2]]["name"]
        return name not in (candidate, "student", "teacher")
    return False


def test_no_gate_passes_when_what_it_looks_at_is_missing_or_wrong() -> None:
    metrics, timings = good()
    for one in metrics["segments"]:
        one["comparisons"].append({**one["comparisons"][0], "b": "production"})
    metrics["comparisons"].append({**metrics["comparisons"][0], "b": "production"})
    timings["production"] = dict(timings["int8"])
    for one in metrics["segments"]:
        for pair in one["comparisons"]:
            pair["metric"] = "ndcg@10"
    places, tried, refused = refusals(metrics, timings, "int8", POLICY)
    assert places > 60
    assert tried > 600
    documents = {"metrics": metrics, "timings": timings}
    names = {gate.name for gate in judge(documents, "int8", None, POLICY)}
    assert names - refused == {"evaluated_on_these_data", "data_not_older"}  # no numbers of these


def test_the_step_refuses_or_ends_when_a_file_of_the_evaluation_is_missing(tmp_path: Path) -> None:
    workshop = Workshop(tmp_path, tmp_path / "registry")
    workshop.promote(names=("int8",))
    models = [str(tmp_path / "int8-1")]
    served = workshop.registry.production()
    for artifact, name in (
        ("evaluation", "metrics.json"),
        ("timings", "timings.json"),
        ("timings", "choice.json"),
        ("evaluation", "manifest.json"),
        ("timings", "manifest.json"),
    ):
        taken = tmp_path / artifact / name
        kept = taken.read_bytes()
        taken.unlink()
        with pytest.raises(SystemExit) as ended:
            workshop.promote_again(models)
        assert ended.value.code == ArtifactError.exit_code
        assert workshop.registry.production() == served
        taken.write_bytes(kept)


@pytest.mark.faults
def test_no_gate_passes_without_the_input_that_a_real_evaluation_gives(
    code: Path, undisturbed: Path, tell: Tell
) -> None:
    found = next(undisturbed.glob("cache/artifacts/*/*/evaluate-models/evaluation"))
    metrics = open_artifact(found).json("metrics.json")
    timed = open_artifact(found.with_name("timings"))
    timings = timed.json("timings.json")
    candidate = timed.json("choice.json")["name"]
    as_production(metrics, timings, candidate)
    policy = load_policy(code / "validation" / "gates.yaml", GatePolicy)
    places, tried, refused = refusals(metrics, timings, candidate, policy)
    tell(
        11,
        "no gate can be passed by failing to run",
        "each gate's input removed in turn: refused",
        f"{places} places of a real evaluation that gates look at, each without its value and with "
        f"nine wrong ones, with and without a production: {tried:,} of {tried:,} refused, by "
        f"{len(refused)} gates; each of the 5 files missing: the step ends, the registry unchanged",
    )


def as_production(metrics: dict[str, Any], timings: dict[str, Any], candidate: str) -> None:
    """Have the evaluation judge a production that is as good as the candidate."""
    timings["production"] = dict(timings[candidate])
    like = next(
        one
        for one in metrics["comparisons"]
        if candidate in (one["a"], one["b"]) and one["metric"] == "ndcg@10"
    )
    metrics["comparisons"].append({**like, "a": candidate, "b": "production", "ci95": [-0.1, 0.1]})
    for one in metrics["segments"]:
        pair = {"a": candidate, "b": "production", "metric": "ndcg@10", "difference": 0.0}
        one["comparisons"].append({**pair, "ci95": [-0.1, 0.1], "p": 1.0, "p_holm": 1.0})
