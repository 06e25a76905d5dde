"""All sections together: the keys are the step names."""

from typing import Self

from pydantic import model_validator

from slmrec.columns import Ranks
from slmrec.config.data import (
    BuildSequences,
    DecideRetraining,
    IngestInteractions,
    MonitorDrift,
    ValidateData,
)
from slmrec.config.evaluation import EvaluateModels, PromoteModel
from slmrec.config.section import Section, check_heads
from slmrec.config.student import DistillStudent, Variant
from slmrec.config.teacher import CacheTeacher, TrainTeacher
from slmrec.config.training import PretrainItems

RESERVED = frozenset(
    {"popularity", "transitions", "sasrec", "teacher", "student", "production"}
    | {Ranks.USER_INDEX, Ranks.TARGET, Ranks.TARGET_COLD}
)
"""Names of models, and of columns beside theirs in `ranks.parquet`, that no variant may have."""


class PipelineConfig(Section):
    """Every step's settings; the keys are the step names."""

    ingest_interactions: IngestInteractions = IngestInteractions()
    validate_data: ValidateData = ValidateData()
    build_sequences: BuildSequences = BuildSequences()
    monitor_drift: MonitorDrift = MonitorDrift()
    decide_retraining: DecideRetraining = DecideRetraining()
    pretrain_items: PretrainItems = PretrainItems()
    train_teacher: TrainTeacher = TrainTeacher()
    cache_teacher: CacheTeacher = CacheTeacher()
    distill_student: DistillStudent = DistillStudent()
    variants: tuple[Variant, ...] = (
        Variant(name="float32", weights="float32"),
        Variant(name="int8", memory=32),
        Variant(name="pruned-int8", feed_forward_share=0.75, memory=32),
    )
    """Compressed students that are built and compared in parallel."""
    evaluate_models: EvaluateModels = EvaluateModels()
    promote_model: PromoteModel = PromoteModel()

    @model_validator(mode="after")
    def _student_fits_teacher(self) -> Self:
        setting, teacher = self.train_teacher.depth()
        student, blocks = self.distill_student.layers, self.cache_teacher.blocks
        if student >= teacher:
            raise ValueError(
                f"distill_student.layers is {student} and {setting} is {teacher}; "
                "the student must have fewer layers than its teacher"
            )
        for name, layers in ((setting, teacher), ("distill_student.layers", student)):
            if layers % blocks:
                raise ValueError(
                    f"cache_teacher.blocks is {blocks} and does not divide {name}, {layers}"
                )
        heads = self.distill_student.heads
        if heads is not None:
            width = self.distill_student.width or self.train_teacher.width
            check_heads(width, heads, "distill_student.")
        attention = self.distill_student.losses.attention
        if attention and not self.cache_teacher.attention:
            raise ValueError(
                f"distill_student.losses.attention is {attention:g} and cache_teacher.attention is "
                "false; set cache_teacher.attention to true"
            )
        first = self.train_teacher.networks()[0]
        if self.cache_teacher.attention and first != "scratch":
            raise ValueError(
                f"cache_teacher.attention is true and the teacher's first network is '{first}'; only a "
                "decoder from scratch shows where it looks"
            )
        if blocks > 1 and first == "sasrec":
            raise ValueError(
                f"cache_teacher.blocks is {blocks} and the teacher's first network is 'sasrec', which "
                "has one block"
            )
        self._require_layers_to_choose_from()
        names = [variant.name for variant in self.variants]
        if len(set(names)) < len(names):
            raise ValueError(f"variants: the names {names} are not all different")
        reserved = RESERVED & set(names)
        if reserved:
            raise ValueError(
                f"variants: {sorted(reserved)} are names of other models or of columns beside theirs; "
                "choose others"
            )
        if not names:
            raise ValueError("variants: none given, expected at least one compressed student")
        self._require_variants_that_fit()
        return self

    def _require_variants_that_fit(self) -> None:
        if not any(variant.keeps_everything for variant in self.variants):
            raise ValueError(
                "variants: none keeps the student as it is, in float32, which is what no candidate may "
                "be slower than; add {name: float32, weights: float32}"
            )
        if self.distill_student.width is None and self.train_teacher.kind == "pretrained":
            return  # the width is that of a checkpoint
        student, blocks = self.distill_student, self.cache_teacher.blocks
        width = student.width or self.train_teacher.width
        feed_forward = student.feed_forward or self.train_teacher.feed_forward
        for variant in self.variants:
            reason = variant.misfit(width) or variant.unreachable(
                width, feed_forward, student.layers, blocks
            )
            if reason:
                raise ValueError(f"variants: '{variant.name}' cannot be made: {reason}")

    def _require_layers_to_choose_from(self) -> None:
        teacher, student = self.train_teacher, self.distill_student
        if student.initial_layers != "block_influence":
            return
        alike = all(
            mine is None or mine == theirs
            for mine, theirs in (
                (student.width, teacher.width),
                (student.heads, teacher.heads),
                (student.feed_forward, teacher.feed_forward),
            )
        )
        if teacher.kind != "scratch" or not alike:
            raise ValueError(
                "distill_student.initial_layers is block_influence, and there are no layers to choose "
                "from: the teacher is no decoder from scratch of the student's width, heads and "
                "feed_forward; leave these out, or set initial_layers to random"
            )
