"""Put the candidate through the gates, register it, move the pointer or record the refusal."""

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from components.runtime import ROOT, open_registry, signing_key, step
from slmrec.artifacts import Artifact, open_artifact, publish, write_json
from slmrec.config import PromoteModel
from slmrec.data.listing import SOURCE_FILES, parse_files
from slmrec.data.sequences import load_sequences
from slmrec.drift.retraining import data_facts
from slmrec.errors import ArtifactError, RegistryConflict
from slmrec.gates import Gate, GatePolicy, Production, check_gates
from slmrec.policy import load_policy
from slmrec.progress import Progress
from slmrec.registry.store import Registry
from slmrec.registry.versions import Version

KIND = "promotion"
ACTOR = "pipeline"


@step("promote_model", outputs=("promotion",))
def run(
    progress: Progress,
    evaluation: str,
    timings: str,
    candidates: list[str],
    sequences: str,
    registry: str,
    code_digest: str,
    settings_digest: str,
    started: str,
    config: str,
    promotion: str,
) -> dict[str, Any]:
    """Write the artifact `promotion`. A refusal is a result, not a failure.

    `started` is when the run started, as ISO text; the version records it, decisions their own time.
    A person's request to train that is newer than that is left to the next run.
    """
    settings = PromoteModel.from_json(config)
    policy = load_policy(ROOT / "validation" / f"{settings.gates}.yaml", GatePolicy)
    measured = open_artifact(evaluation, "evaluation")
    timed = open_artifact(timings, "timings")
    data = load_sequences(sequences)
    assert data.artifact is not None
    store = open_registry(registry)
    production = store.production()
    if timed.inputs.get("evaluation") != measured.digest:
        raise ArtifactError(
            f"{timed.path}: timings of the evaluation {timed.inputs.get('evaluation', '')[:12]}, "
            f"expected {measured.digest[:12]}; run evaluate_models again"
        )
    metrics = measured.json("metrics.json")
    chosen = str(timed.json("choice.json")["name"])
    candidate = _candidate(chosen, candidates)
    facts = data_facts(data)
    gates = check_gates(
        metrics,
        timed.json("timings.json"),
        candidate=chosen,
        newest=facts.newest,
        sequences_digest=data.artifact.digest,
        evaluated_digest=measured.inputs.get("sequences", ""),
        judged_production=measured.inputs.get("production", ""),
        production=_known(production),
        policy=policy,
    )
    now = datetime.now(UTC).isoformat(timespec="seconds")
    made_of = (candidate.digest, code_digest, settings_digest)
    if production is not None and made_of == _made_of(production):
        version = production  # judged anew beside itself, and still the same
    else:
        version = store.add(
            candidate,
            measured,
            timed,
            facts,
            code_digest=code_digest,
            settings_digest=settings_digest,
            time=started,
            source=parse_files(data.artifact.json(SOURCE_FILES)),
            progress=progress,
        )
    key = signing_key()
    if key is not None and not store.signatures.has(version.number):
        store.signatures.add(version.number, key)
    evidence = {
        "model": candidate.digest,
        "evaluation": measured.digest,
        "sequences": facts.sequences_digest,
    }
    inputs = {"evaluation": measured, "timings": timed, "sequences": data.artifact}
    # Begun before anything is decided: where it cannot be written, nothing moves.
    with publish(Path(promotion), KIND, config=config, inputs=inputs) as directory:
        store.propose(
            version.number,
            reason=f"candidate of the run of {started}",
            actor=ACTOR,
            time=now,
            began=started,
        )
        promoted, reason = _settle(
            store, version, production, gates, now, evidence, settings.approval
        )
        content = {
            "gates": [asdict(gate) for gate in gates],
            "version": version.number,
            "promoted": promoted,
            "previous": production.number if production else None,
            "reason": reason,
        }
        write_json(directory / "promotion.json", content)
    progress.update(1, 1)
    return {
        "digest": open_artifact(promotion, KIND).digest,
        "headline": f"version {version.number} ({version.name}): {reason}",
        "promoted": promoted or 0,
        "version": version.number,
        "gates_passed": sum(gate.passed for gate in gates),
        "gates": len(gates),
    }


def _settle(
    store: Registry,
    version: Version,
    production: Version | None,
    gates: list[Gate],
    now: str,
    evidence: dict[str, str],
    approval: str,
) -> tuple[int | None, str]:
    """The number that was promoted, None after a refusal, and why."""
    if production is not None and version.number == production.number:
        return version.number, "already production"
    seen = store.channels().taken_back
    taken_back = sorted(
        number
        for number in seen
        if store.has(number) and store.version(number).model_digest == version.model_digest
    )
    refused = [gate for gate in gates if not gate.passed]
    if taken_back and not refused:
        reason = (
            f"refused: this model was rolled back or rejected as version {taken_back[-1]}; if that was "
            f"wrong, promote it by hand: registry promote {version.number} --reason …"
        )
        store.refuse(version.number, reason=reason, actor=ACTOR, time=now, evidence=evidence)
        return None, reason
    if refused:
        reason = "refused: " + "; ".join(
            f"{gate.name} found {gate.found}, required {gate.required}" for gate in refused
        )
        store.refuse(version.number, reason=reason, actor=ACTOR, time=now, evidence=evidence)
        return None, reason
    reason = f"passed all {len(gates)} gates"
    if approval == "manual":
        return None, f"{reason}; waits for a person: registry promote {version.number} --reason …"
    if store.signatures.missing(version.number):
        return None, (
            f"{reason}; waits for a signature: registry sign {version.number} --key …, then registry "
            f"promote {version.number} --reason …"
        )
    try:
        store.promote(
            version.number,
            production.number if production else None,
            reason=reason,
            actor=ACTOR,
            time=now,
            evidence=evidence,
            taken_back=seen,
        )
    except RegistryConflict:
        if store.channels().production != version.number:
            raise
        reason += "; another run of the same promoted it meanwhile"
    return version.number, reason


def _candidate(name: str, paths: list[str]) -> Artifact:
    models = [open_artifact(path, "servable") for path in paths]
    for model in models:
        if model.properties.get("name") == name:
            return model
    raise ArtifactError(
        f"choice.json: the candidate is '{name}', expected one of "
        f"{[str(model.properties.get('name')) for model in models]}; "
        "evaluate the same models that are to be promoted"
    )


def _made_of(version: Version) -> tuple[str, str, str]:
    return version.model_digest, version.code_digest, version.settings_digest


def _known(production: Version | None) -> Production | None:
    if production is None:
        return None
    return Production(production.number, production.model_digest, production.data.newest)
