"""The trainings of a study: item embeddings, teachers, students, and what no teacher helped."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from slmrec.artifacts import Artifact
from slmrec.config import (
    CacheTeacher,
    DistillStudent,
    PipelineConfig,
    PretrainItems,
    TrainTeacher,
)
from slmrec.data.sequences import Sequences
from slmrec.distillation.cache_format import KIND as CACHE
from slmrec.distillation.make_student import make_student
from slmrec.distillation.read_cache import TeacherCache
from slmrec.distillation.stored_teacher import open_teacher
from slmrec.distillation.student_memory import with_memory
from slmrec.distillation.write_cache import write_shard
from slmrec.errors import ConfigError
from slmrec.models.checkpoint import item_vectors
from slmrec.models.counted import Counted
from slmrec.models.decoder import Decoder
from slmrec.progress import Progress
from slmrec.studies.kept import Kept
from slmrec.training.device import choose_device
from slmrec.training.loop import TrainingResult
from slmrec.training.pretrain import train_sasrec
from slmrec.training.recency import recency_weights
from slmrec.training.record import save_trained
from slmrec.training.teacher import train_teacher


def needs_items(config: PipelineConfig) -> bool:
    """Whether the teacher starts from SASRec's item embeddings."""
    return config.train_teacher.item_embeddings == "pretrained"


def require_layers(config: PipelineConfig) -> None:
    """Refuse a teacher whose layers a study cannot take apart. Raises `ConfigError`."""
    if config.train_teacher.kind != "scratch":
        raise ConfigError(
            f"study: train_teacher.kind is '{config.train_teacher.kind}', expected 'scratch': "
            "this study trains decoders of several depths; set train_teacher.kind=scratch"
        )


Trained = TypeVar("Trained", PretrainItems, TrainTeacher, DistillStudent)


def reseeded(section: Trained, seed: int) -> Trained:
    """The same settings, begun from another seed."""
    training = section.training.model_copy(update={"seed": seed})
    return section.model_copy(update={"training": training})


class Trainer:
    """Trains with the same library functions as the pipeline's steps, and keeps what is finished."""

    def __init__(self, sequences: Sequences, kept: Kept) -> None:
        assert sequences.artifact is not None
        self._sequences = sequences
        self._source = sequences.artifact
        self._kept = kept

    def expect(self, trainings: int) -> None:
        """Say how many trainings will be asked for."""
        self._kept.report.expect(trainings)

    def sasrec(self, settings: PretrainItems, label: str = "item embeddings") -> Artifact:
        """SASRec, as the pipeline pretrains it."""
        config, inputs = settings.to_json(), {"sequences": self._source}

        def make(place: Path, progress: Progress) -> str:
            checkpoints = self._kept.checkpoints("sasrec", config, inputs)
            model, training, _ = train_sasrec(self._sequences, settings, progress, checkpoints)
            save_trained(place, "sasrec", model, training, config=config, inputs=inputs)
            return _headline(training)

        return self._kept.get("sasrec", label, config, inputs, make, trains=True)

    def teacher(self, settings: TrainTeacher, sasrec: Artifact | None, label: str) -> Artifact:
        """A teacher of any kind, or a decoder that is compared with one.

        `sasrec` gives its item embeddings where the settings want them pretrained.
        """
        inputs = {"sequences": self._source}
        if settings.item_embeddings == "pretrained" and sasrec is not None:
            inputs["items_model"] = sasrec
        config = settings.to_json()

        def make(place: Path, progress: Progress) -> str:
            table = item_vectors(inputs["items_model"]) if "items_model" in inputs else None
            checkpoints = self._kept.checkpoints("teacher", config, inputs)
            made = train_teacher(self._sequences, table, settings, progress, checkpoints)
            save_trained(
                place,
                "teacher",
                made.model,
                made.training,
                config=config,
                inputs=inputs,
                report=made.report,
            )
            return _headline(made.training)

        return self._kept.get("teacher", label, config, inputs, make, trains=True)

    def student(
        self, teacher: Artifact, cache: CacheTeacher, settings: DistillStudent, label: str
    ) -> Artifact:
        """A student of a teacher, whose cache is written when it is needed first."""
        inputs = {"sequences": self._source, "teacher": teacher}
        # The cache's settings decide its content together with the inputs, so it need not exist.
        key = f"[{settings.to_json()},{cache.to_json()}]"

        def make(place: Path, progress: Progress) -> str:
            shards = self.cache(teacher, cache)
            made = make_student(
                teacher,
                self._sequences,
                TeacherCache([shard.path for shard in shards], self._sequences, teacher),
                settings,
                progress,
                self._kept.checkpoints("student", key, inputs),
            )
            save_trained(
                place,
                "student",
                made.student,
                made.training,
                config=settings.to_json(),
                inputs=inputs,
                report=made.report,
            )
            return _headline(made.training)

        return self._kept.get("student", label, key, inputs, make, trains=True)

    def direct(self, settings: TrainTeacher, memory: int, label: str) -> Artifact:
        """A decoder trained on the log alone, which may keep a memory as a student does."""
        inputs = {"sequences": self._source}
        config = f"[{settings.to_json()},{memory}]"

        def make(place: Path, progress: Progress) -> str:
            checkpoints = self._kept.checkpoints("direct", config, inputs)
            made = train_teacher(self._sequences, None, settings, progress, checkpoints)
            model, training = made.model, made.training
            assert isinstance(model, Decoder)
            if memory:
                seed, half_life = settings.training.seed, training.recency_half_life_days
                weights = recency_weights(self._sequences, half_life) if half_life else None
                counted = Counted.fit(self._sequences, weights)
                model, quality = with_memory(model, counted, memory, self._sequences, seed)
                training = replace(training, best_ndcg=quality.get("together", 0.0))
            save_trained(place, "direct", model, training, config=config, inputs=inputs)
            return _headline(training)

        return self._kept.get("direct", label, config, inputs, make, trains=True)

    def cache(self, teacher: Artifact, settings: CacheTeacher) -> list[Artifact]:
        """The shards of a teacher's cache."""
        inputs: Mapping[str, Artifact] = {"sequences": self._source, "teacher": teacher}

        def shard(number: int) -> Artifact:
            name = f"{number}/{settings.shards}"

            def make(place: Path, progress: Progress) -> str:
                device = choose_device(settings.device, "cache_teacher.device")
                live = open_teacher(teacher, self._sequences, device)
                written = write_shard(
                    place, live, self._sequences, name, settings, inputs, progress
                )
                return f"{written.artifact.properties['positions']:,} positions"

            key = f"[{settings.to_json()},{number}]"
            return self._kept.get(CACHE, f"teacher cache {name}", key, inputs, make)

        return [shard(number) for number in range(settings.shards)]


def _headline(training: TrainingResult) -> str:
    return f"validation NDCG@10 {training.best_ndcg:.4f} after epoch {training.best_epoch}"
