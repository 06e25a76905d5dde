"""The trainings of a study: decoders of any depth, the teacher's cache, students; each only once."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from slmrec.artifacts import Artifact
from slmrec.config import CacheTeacher, DistillStudent, PipelineConfig, TrainTeacher
from slmrec.data.sequences import Sequences
from slmrec.distillation.cache_format import KIND as CACHE
from slmrec.distillation.distill import distill
from slmrec.distillation.read_cache import TeacherCache
from slmrec.distillation.teachers import DecoderTeacher
from slmrec.distillation.write_cache import write_shard
from slmrec.errors import ConfigError
from slmrec.models.checkpoint import item_table, load_decoder
from slmrec.progress import Progress
from slmrec.studies.kept import Kept
from slmrec.training.loop import TrainingResult
from slmrec.training.pretrain import train_sasrec, train_teacher
from slmrec.training.record import save_trained


class Trainings:
    """Trains with the same library functions as the pipeline's steps, and keeps what is finished."""

    def __init__(self, sequences: Sequences, config: PipelineConfig, kept: Kept) -> None:
        """Raises `ConfigError` for a pretrained teacher, whose layers cannot be taken apart."""
        if config.train_teacher.kind != "scratch":
            raise ConfigError(
                f"study: train_teacher.kind is '{config.train_teacher.kind}', expected 'scratch': "
                "a study trains decoders of several depths; set train_teacher.kind=scratch"
            )
        assert sequences.artifact is not None
        self._sequences = sequences
        self._source = sequences.artifact
        self._config = config
        self._kept = kept

    def expect(self, others: int) -> None:
        """Say how many trainings will be asked for beside that of the item embeddings."""
        embeddings = self._config.train_teacher.item_embeddings == "pretrained"
        self._kept.report.expect(others + embeddings)

    def decoder(self, settings: TrainTeacher, label: str) -> Artifact:
        """A decoder trained directly on the log: a teacher, or what no teacher helped."""
        inputs = {"sequences": self._source}
        items = self._items_model if settings.item_embeddings == "pretrained" else None
        if items is not None:
            inputs["items_model"] = items
        config = settings.to_json()

        def make(place: Path, progress: Progress) -> str:
            table = None if items is None else item_table(items)
            checkpoints = self._kept.checkpoints("teacher", config, inputs)
            model, training, _ = train_teacher(
                self._sequences, table, settings, progress, checkpoints
            )
            save_trained(place, "teacher", model, training, config=config, inputs=inputs)
            return _headline(training)

        return self._kept.get("teacher", label, config, inputs, make, trains=True)

    def student(
        self, teacher: Artifact, cache: CacheTeacher, settings: DistillStudent, label: str
    ) -> Artifact:
        """A student of a teacher, whose cache is written when it is needed first."""
        inputs = {"sequences": self._source, "teacher": teacher}
        # The cache's settings decide its content together with the inputs, so it need not exist.
        key = f"[{settings.to_json()},{cache.to_json()}]"

        def make(place: Path, progress: Progress) -> str:
            shards = self._cache(teacher, cache)
            distilled = distill(
                load_decoder(teacher),
                self._sequences,
                TeacherCache([shard.path for shard in shards], self._sequences, teacher),
                settings,
                progress,
                self._kept.checkpoints("student", key, inputs),
            )
            save_trained(
                place,
                "student",
                distilled.student,
                distilled.training,
                config=settings.to_json(),
                inputs=inputs,
                report=distilled.distance,
            )
            return _headline(distilled.training)

        return self._kept.get("student", label, key, inputs, make, trains=True)

    @cached_property
    def _items_model(self) -> Artifact:
        settings = self._config.pretrain_items
        config, inputs = settings.to_json(), {"sequences": self._source}

        def make(place: Path, progress: Progress) -> str:
            checkpoints = self._kept.checkpoints("sasrec", config, inputs)
            model, training, _ = train_sasrec(self._sequences, settings, progress, checkpoints)
            save_trained(place, "sasrec", model, training, config=config, inputs=inputs)
            return _headline(training)

        return self._kept.get("sasrec", "item embeddings", config, inputs, make, trains=True)

    def _cache(self, teacher: Artifact, settings: CacheTeacher) -> list[Artifact]:
        inputs: Mapping[str, Artifact] = {"sequences": self._source, "teacher": teacher}

        def shard(number: int) -> Artifact:
            name = f"{number}/{settings.shards}"

            def make(place: Path, progress: Progress) -> str:
                live = DecoderTeacher(load_decoder(teacher))
                written = write_shard(
                    place, live, self._sequences, name, settings, inputs, progress
                )
                return f"{written.artifact.properties['positions']:,} positions"

            key = f"[{settings.to_json()},{number}]"
            return self._kept.get(CACHE, f"teacher cache {name}", key, inputs, make)

        return [shard(number) for number in range(settings.shards)]


def _headline(training: TrainingResult) -> str:
    return f"validation NDCG@10 {training.best_ndcg:.4f} after epoch {training.best_epoch}"
