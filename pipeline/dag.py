"""The DAG, once: every scheduled run walks the top row, a run that has a reason walks the branch.

    snapshot_source → ingest_interactions → validate_data → build_sequences
        → monitor_drift → decide_retraining
            └ retrain? → pretrain_items → train_teacher → cache_teacher (a task a shard)
                → distill_student → [each variant: prune_student → quantize_student]
                → evaluate_models → promote_model

Parameters that are sections of the configuration travel as canonical JSON text, one a step.
"""

from kfp import dsl
from kfp.dsl import Dataset, Input, Model

from components.build_sequences.component import build_sequences
from components.cache_teacher.component import cache_teacher
from components.decide_retraining.component import decide_retraining
from components.distill_student.component import distill_student
from components.evaluate_models.component import evaluate_models
from components.ingest_interactions.component import ingest_interactions
from components.monitor_drift.component import monitor_drift
from components.pretrain_items.component import pretrain_items
from components.promote_model.component import promote_model
from components.prune_student.component import prune_student
from components.quantize_student.component import quantize_student
from components.snapshot_source.component import snapshot_source
from components.train_teacher.component import train_teacher
from components.validate_data.component import validate_data
from pipeline.limits import limited
from pipeline.parameters import defaults

NAME = "slmrec"
DEFAULTS = defaults()
"""What the compiled file runs with when nobody says anything: the built-in sample."""


@dsl.pipeline(name="compress-and-promote", description="Variants of a student; one may go forward.")
def compress_and_promote(
    sequences: Input[Dataset],
    items_model: Input[Model],
    teacher: Input[Model],
    student: Input[Model],
    caches: Input[list[Dataset]],
    variants: list[str],
    registry: str,
    production: str,
    code_digest: str,
    settings_digest: str,
    started: str,
    distill_student_config: str,
    evaluate_models_config: str,
    promote_model_config: str,
) -> None:
    """Make every variant, compare all models on the same users, promote the candidate or refuse."""
    with dsl.ParallelFor(items=variants, name="variants") as variant:
        # What was taken away may be made up for from the cache that the student learned from.
        pruned = limited(
            prune_student(
                sequences=sequences,
                student=student,
                caches=caches,
                variant=variant,
                config=distill_student_config,
            )
        )
        quantized = limited(
            quantize_student(sequences=sequences, pruned=pruned.outputs["pruned"], variant=variant)
        )
    # One `Collected` for each reader: compiling changes the object.
    evaluated = limited(
        evaluate_models(
            sequences=sequences,
            items_model=items_model,
            teacher=teacher,
            student=student,
            variants=dsl.Collected(quantized.outputs["servable"]),
            registry=registry,
            production=production,
            config=evaluate_models_config,
        )
    )
    # Moves the production pointer, or refuses and says which gate.
    promoted = limited(
        promote_model(
            evaluation=evaluated.outputs["evaluation"],
            timings=evaluated.outputs["timings"],
            candidates=dsl.Collected(quantized.outputs["servable"]),
            sequences=sequences,
            registry=registry,
            code_digest=code_digest,
            settings_digest=settings_digest,
            started=started,
            config=promote_model_config,
        )
    )
    promoted.set_caching_options(enable_caching=False)


@dsl.pipeline(name=NAME, description="An interaction log becomes a small sequential recommender.")
def slmrec_pipeline(
    interactions: str = DEFAULTS["interactions"],
    items: str = DEFAULTS["items"],
    registry: str = DEFAULTS["registry"],
    code_digest: str = DEFAULTS["code_digest"],
    settings_digest: str = DEFAULTS["settings_digest"],
    started: str = DEFAULTS["started"],
    force: bool = DEFAULTS["force"],
    shards: list[str] = DEFAULTS["shards"],
    variants: list[str] = DEFAULTS["variants"],
    ingest_interactions_config: str = DEFAULTS["ingest_interactions_config"],
    validate_data_config: str = DEFAULTS["validate_data_config"],
    build_sequences_config: str = DEFAULTS["build_sequences_config"],
    monitor_drift_config: str = DEFAULTS["monitor_drift_config"],
    decide_retraining_config: str = DEFAULTS["decide_retraining_config"],
    pretrain_items_config: str = DEFAULTS["pretrain_items_config"],
    train_teacher_config: str = DEFAULTS["train_teacher_config"],
    cache_teacher_config: str = DEFAULTS["cache_teacher_config"],
    distill_student_config: str = DEFAULTS["distill_student_config"],
    evaluate_models_config: str = DEFAULTS["evaluate_models_config"],
    promote_model_config: str = DEFAULTS["promote_model_config"],
) -> None:
    """Walk the DAG; see the module's picture."""
    # The digest of the exact input bytes, and who serves: never cached, and all below hangs on it.
    snapshot = limited(
        snapshot_source(
            interactions=interactions,
            items=items,
            registry=registry,
            started=started,
            monitor_drift_config=monitor_drift_config,
        )
    )
    snapshot.set_caching_options(enable_caching=False)
    # Bad rows go to the quarantine with a reason, so nothing is lost silently.
    ingested = limited(
        ingest_interactions(
            interactions=interactions,
            items=items,
            source_digest=snapshot.outputs["digest"],
            config=ingest_interactions_config,
        )
    )
    # Blocking: data that fails its expectations go no further.
    validated = limited(
        validate_data(
            interactions=ingested.outputs["log"],
            previous=snapshot.outputs["previous"],
            config=validate_data_config,
        )
    )
    built = limited(
        build_sequences(
            interactions=ingested.outputs["log"],
            verdict=validated.outputs["verdict"],
            config=build_sequences_config,
        )
    )
    sequences = built.outputs["sequences"]
    drift = limited(
        monitor_drift(
            sequences=sequences,
            registry=registry,
            serving=snapshot.outputs["serving"],
            config=monitor_drift_config,
        )
    )
    # It reads requests and snoozes in the registry, and the clock: what no cache key knows.
    decision = limited(
        decide_retraining(
            sequences=sequences,
            verdict=drift.outputs["Output"],
            registry=registry,
            code_digest=code_digest,
            settings_digest=settings_digest,
            force=force,
            config=decide_retraining_config,
        )
    )
    decision.set_caching_options(enable_caching=False)

    # The condition reads a task's only parameter: KFP's local engine resolves no other, and takes
    # what it cannot resolve for false.
    with dsl.If(decision.outputs["Output"] == True, name="retrain"):  # noqa: E712
        # The paper's first stage: item embeddings that know who follows whom.
        pretrained = limited(pretrain_items(sequences=sequences, config=pretrain_items_config))
        taught = limited(
            train_teacher(
                sequences=sequences,
                items_model=pretrained.outputs["items_model"],
                config=train_teacher_config,
            )
        )
        teacher = taught.outputs["teacher"]
        # The teacher runs once over the training positions and never again.
        with dsl.ParallelFor(items=shards, name="shards") as shard:
            cached = limited(
                cache_teacher(
                    sequences=sequences, teacher=teacher, shard=shard, config=cache_teacher_config
                )
            )
        distilled = limited(
            distill_student(
                sequences=sequences,
                teacher=teacher,
                caches=dsl.Collected(cached.outputs["cache"]),
                config=distill_student_config,
            )
        )
        student = distilled.outputs["student"]
        # A pipeline of its own: inside a loop KFP collects only what the loop was given from outside.
        compress_and_promote(
            sequences=sequences,
            items_model=pretrained.outputs["items_model"],
            teacher=teacher,
            student=student,
            caches=dsl.Collected(cached.outputs["cache"]),
            variants=variants,
            registry=registry,
            production=snapshot.outputs["production"],
            code_digest=code_digest,
            settings_digest=settings_digest,
            started=snapshot.outputs["started"],
            distill_student_config=distill_student_config,
            evaluate_models_config=evaluate_models_config,
            promote_model_config=promote_model_config,
        )
