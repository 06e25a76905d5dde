"""Typed configuration: one frozen model a step, composed into `PipelineConfig`.

A step receives its own section as one canonical JSON text (`to_json`) and parses it again
(`from_json`), so what was validated before the start is what the step runs with.
"""

from slmrec.config.data import (
    BuildSequences,
    ColumnNames,
    DecideRetraining,
    Format,
    IngestInteractions,
    MonitorDrift,
    ValidateData,
)
from slmrec.config.evaluation import EvaluateModels, PromoteModel
from slmrec.config.pipeline import PipelineConfig
from slmrec.config.section import (
    Device,
    Dropout,
    Length,
    Positive,
    Rate,
    Section,
    Seed,
    Share,
    Weight,
    explain,
)
from slmrec.config.student import (
    DistillStudent,
    LossWeights,
    Recovery,
    SequenceWeights,
    Sparsity,
    Variant,
)
from slmrec.config.teacher import CacheTeacher, EnsembleMembers, PretrainedCheckpoint, TrainTeacher
from slmrec.config.training import PretrainItems, Training

__all__ = [
    "BuildSequences",
    "CacheTeacher",
    "ColumnNames",
    "DecideRetraining",
    "Device",
    "DistillStudent",
    "Dropout",
    "EnsembleMembers",
    "EvaluateModels",
    "Format",
    "IngestInteractions",
    "Length",
    "LossWeights",
    "MonitorDrift",
    "PipelineConfig",
    "Positive",
    "PretrainItems",
    "PretrainedCheckpoint",
    "PromoteModel",
    "Rate",
    "Recovery",
    "Section",
    "Seed",
    "SequenceWeights",
    "Share",
    "Sparsity",
    "TrainTeacher",
    "Training",
    "ValidateData",
    "Variant",
    "Weight",
    "explain",
]
