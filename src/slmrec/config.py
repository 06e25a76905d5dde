"""Typed configuration: one frozen model a step, composed into `PipelineConfig`.

A step receives its own section as one canonical JSON text (`to_json`) and parses it again
(`from_json`), so what was validated before the start is what the step runs with.
"""

import difflib
import json
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from slmrec.errors import ConfigError

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]
Dropout = Annotated[float, Field(ge=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Length = Annotated[int, Field(ge=3, le=10_000)]
Rate = Annotated[float, Field(gt=0, lt=1)]


class Section(BaseModel):
    """Base of every configuration section: frozen, and no key it does not know."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )

    def to_json(self) -> str:
        """The section as canonical JSON: the same settings give the same text."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Parse what `to_json` wrote. Raises `ConfigError` naming the field."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise ConfigError(explain(cls, error, source="step configuration")) from None


Format = Literal[
    "auto",
    "csv",
    "tsv",
    "parquet",
    "jsonl",
    "movielens",
    "amazon-2014",
    "amazon-2018",
    "recbole",
    "sequences-txt",
]


class ColumnNames(Section):
    """What the source calls its columns; empty means: recognise the usual names."""

    user: str = ""
    item: str = ""
    timestamp: str = ""
    rating: str = ""
    title: str = ""
    category: str = ""


class IngestInteractions(Section):
    """How raw files become the canonical log."""

    format: Format = "auto"
    """Reader; `auto` recognises it from the file name and first line and prints what it assumed."""
    columns: ColumnNames = ColumnNames()
    """Column mapping for `csv`, `tsv`, `jsonl` and `parquet`."""
    ties: Literal["content", "source"] = "content"
    """Order of a user's interactions at one moment: `content` shuffles them by a digest of item and
    time, the same for any order of the rows; `source` trusts the order of the file."""
    max_id_length: Positive = 256
    """Characters; a longer user or item id goes to the quarantine."""
    earliest: int = 0
    """Seconds since 1970; an interaction before it goes to the quarantine."""
    latest: int = 4102444800
    """Seconds since 1970 (default 2100-01-01); an interaction after it goes to the quarantine."""
    min_rating: float | None = None
    """Interactions rated below are filtered (the SLMRec paper uses 3); null keeps all."""


class ValidateData(Section):
    """What the canonical log must satisfy."""

    suites: tuple[str, ...] = ("interactions", "items")
    """Great Expectations suites, files `validation/expectations/<name>.json`."""
    max_quarantine_share: Share = 0.05
    """Largest share of source rows that may sit in the quarantine."""
    max_equal_time_share: Share = 1.0
    """Largest share of interactions that may share user and moment with another: their order is not
    time's. 1 allows all, since many public logs have one time a visit; above 0.5 a run says so."""
    robot_events: Positive = 100
    """Interactions of one user within `robot_seconds` that no person makes."""
    robot_seconds: Positive = 60
    """Length of the window for `robot_events`, seconds."""
    max_robot_share: Share = 0.05
    """Largest share of interactions that may belong to users who look like robots."""
    min_volume_ratio: Annotated[float, Field(ge=0)] = 0.5
    """Interactions now over interactions behind the production model: fewer fails the log."""
    max_volume_ratio: Annotated[float, Field(gt=0)] = 20.0
    """The same ratio: more fails the log."""
    min_catalogue_kept: Share = 0.5
    """Least share of the production model's items that the log still has."""


class BuildSequences(Section):
    """How the log becomes histories, and where the past ends."""

    split: Literal["global_time", "leave_one_out"] = "global_time"
    """`global_time`: nothing after a moment is seen in training. `leave_one_out`: each user's last
    two items are held out, as in published benchmarks; it lets training see the future of others."""
    min_user_interactions: Positive = 5
    """k-core, users: fewer interactions and the user is filtered, iterated to the fixed point."""
    min_item_interactions: Positive = 5
    """k-core, items."""
    deduplicate: Literal["first", "exact", "none"] = "first"
    """`first` keeps a user's first interaction with an item, `exact` drops equal (user, item, time)."""
    max_history: Annotated[int, Field(ge=3)] | None = None
    """Only the last so many interactions of a user (after `deduplicate`, before the k-core); null
    keeps all."""
    session_minutes: Annotated[float, Field(gt=0)] | None = None
    """A longer pause begins a new session, and each session becomes a history of its own; null keeps
    a user's history whole."""
    validation_share: Rate = 0.03
    """`global_time`: share of interactions, by time, between the training and the test cut. What lies
    there is not trained on, so a large share makes every model stale."""
    test_share: Rate = 0.1
    """`global_time`: share of interactions, by time, after the test cut."""

    @model_validator(mode="after")
    def _shares_leave_training_data(self) -> Self:
        if self.validation_share + self.test_share >= 0.9:
            raise ValueError(
                f"validation_share + test_share is {self.validation_share + self.test_share:.2f}, "
                "expected below 0.9 so that training data remain"
            )
        return self


class MonitorDrift(Section):
    """How the newest window is compared with the past."""

    window_share: Rate = 0.1
    """Share of the log's interactions, by time, in the current window."""
    history_windows: Positive = 6
    """Earlier windows of the same size, compared one with the next, for the history plot."""
    min_users: Positive = 200
    """Users a window needs; with fewer the verdict is `not enough data`."""
    max_users: Positive = 5000
    """Users sampled from each side, to bound time and memory."""
    permutations: Positive = 999
    """Label permutations for each p-value: p = (k + 1) / (permutations + 1)."""
    false_discovery_rate: Rate = 0.01
    """Benjamini-Hochberg level across all statistics."""
    evidently_rows: Positive = 5000
    """Rows of each side in the Evidently report."""
    seed: Seed = 17


class DecideRetraining(Section):
    """When a run has a reason to train."""

    min_new_share: Share = 0.05
    """Interactions newer than the production model's data, as a share of those it saw."""
    on_drift: bool = True
    """Train when the drift verdict is `drift`."""
    on_code_change: bool = True
    """Train when the code digest differs from the production model's."""


class Training(Section):
    """One optimisation: shared by SASRec, teacher and student."""

    loss: Literal["softmax", "sampled_softmax", "gbce"] = "softmax"
    """Cross-entropy of the next item. `softmax`: over the whole catalogue, its cost grows with it.
    Over a sample of it, which takes more epochs: `sampled_softmax`, with logQ correction (Bengio and
    Senécal, 2008; Yi et al., RecSys 2019), or `gbce`, generalised binary cross-entropy (gSASRec: Petrov
    and Macdonald, RecSys 2023)."""
    negatives: Positive = 1024
    """Items drawn for each batch by the two sampled losses."""
    gbce_calibration: Share = 0.75
    """t of `gbce`: 0 is plain binary cross-entropy, 1 takes out all the overconfidence that sampling
    brings."""
    epochs: Positive = 20
    learning_rate: Annotated[float, Field(gt=0)] = 2e-3
    """Peak of a one-cycle schedule: linear warm-up, cosine decay to zero."""
    warmup_share: Rate = 0.1
    """Share of all steps spent warming up."""
    batch_tokens: Positive = 2048
    """Target positions in one step, padding not counted."""
    weight_decay: Weight = 0.01
    """AdamW, on matrices only; embeddings, norms and biases are not decayed."""
    clip_norm: Annotated[float, Field(gt=0)] = 1.0
    dropout: Dropout = 0.3
    """Inside the layers."""
    embedding_dropout: Dropout = 0.5
    """On the item embeddings that enter the first layer."""
    patience: Positive = 4
    """Validations without a better NDCG@10 before training stops."""
    validate_every: Positive = 2
    """Epochs between validations."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Type of matrix products; `auto` is bfloat16 where the processor has instructions for it and the
    product is large enough to gain from it, which depends on the machine but not on the moment."""
    recency_half_life_days: Annotated[float, Field(gt=0)] | Literal["auto"] | None = "auto"
    """Beside the others of its batch a target counts half as much in the cross-entropy for every so
    many days before the newest training interaction; null: all alike; `auto`: what predicts the
    validation items clearly best."""
    max_logit_mib: Positive = 64
    """Largest block of catalogue scores held at once in the loss `softmax`, MiB."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; `auto` is a GPU where torch finds one."""
    seed: Seed = 17


def _check_heads(width: int, heads: int, section: str = "") -> None:
    if width % heads or (width // heads) % 2:
        raise ValueError(
            f"{section}heads is {heads} and width is {width}; expected heads to divide width into even "
            "parts"
        )


class PretrainItems(Section):
    """The paper's first stage: item embeddings from SASRec."""

    width: Positive = 64
    layers: Positive = 2
    heads: Positive = 2
    max_length: Length = 50
    """Interactions a window holds; longer histories are cut into consecutive windows."""
    training: Training = Training()

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        _check_heads(self.width, self.heads)
        return self


class PretrainedCheckpoint(Section):
    """A pretrained causal language model, and how its first layers are adapted to items.

    The defaults are the SLMRec paper's (arXiv 2405.17890, LLaMA-2-7B).
    """

    checkpoint: Annotated[str, Field(min_length=1)]
    """A Hugging Face checkpoint with safetensors weights: a folder, `gs://BUCKET/FOLDER/`, or a hub id
    (`OWNER/NAME` or `OWNER/NAME@REVISION`)."""
    layers: Positive = 8
    """The first so many layers are used; the others are not even loaded."""
    prompt: str = (
        "A person's history follows, the oldest item first. Predict the item that comes next."
    )
    """Stands in front of every history, in the checkpoint's own words; empty for none."""
    lora_rank: Positive = 16
    """Rank of the adapters (LoRA), the only trained part of the layers."""
    lora_alpha: Positive = 16
    """What an adapter adds is scaled by `lora_alpha / lora_rank`."""
    lora_dropout: Dropout = 0.05
    """On what enters an adapter."""
    lora_modules: Annotated[tuple[str, ...], Field(min_length=1)] = (
        "gate_proj",
        "up_proj",
        "down_proj",
    )
    """Linear maps in each layer that are given an adapter."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Type of the frozen weights; `bfloat16` takes half the memory."""


class EnsembleMembers(Section):
    """What an ensemble teacher is made of, beside item transitions and popularity."""

    folds: Annotated[int, Field(ge=2, le=16)] = 3
    """Parts of the users, and networks: each is trained without one part, and is the one that is asked
    about that part's training histories."""
    counted_share: Annotated[float, Field(ge=0, lt=1)] = 0.6
    """What part of each target a network learns from item transitions, each history judged without
    itself; the rest is the item that came next."""
    top_k: Positive = 64
    """Items a position that transitions give as targets."""


class TrainTeacher(Section):
    """A deep decoder over item embeddings, of a pretrained language model, or several together."""

    kind: Literal["scratch", "pretrained", "ensemble"] = "scratch"
    """`scratch`: a Llama-architecture decoder of the size below. `pretrained`: the layers that the
    section `pretrained` names, in which `layers`, `heads`, `feed_forward` and `training.dropout` do
    nothing. `ensemble`: several decoders of the size below, item transitions and popularity."""
    ensemble: EnsembleMembers = EnsembleMembers()
    """Read when `kind` is `ensemble`."""
    pretrained: PretrainedCheckpoint | None = None
    """Read when `kind` is `pretrained`."""
    width: Positive = 64
    """Of the item embeddings; from scratch, of the layers too."""
    layers: Positive = 8
    heads: Positive = 2
    feed_forward: Positive = 256
    """Inner width of the gated feed-forward network."""
    max_length: Length = 50
    """Interactions a window holds; longer histories are cut into consecutive windows."""
    item_embeddings: Literal["pretrained", "random", "text"] = "pretrained"
    """`pretrained` starts from `pretrain_items`, through a projection when the widths differ; `text`
    from what `text_encoder` makes of titles and categories."""
    text_encoder: str = ""
    """For `text`: a Hugging Face encoder or causal language model, named like a checkpoint."""
    freeze_items: bool = False
    """Keep the item embeddings as they start."""
    training: Training = Training(learning_rate=1e-3)

    @model_validator(mode="after")
    def _kind_has_what_it_needs(self) -> Self:
        if self.kind == "pretrained" and self.pretrained is None:
            raise ValueError(
                "kind is 'pretrained' and the section 'pretrained' is missing; name at least "
                "pretrained.checkpoint"
            )
        if self.kind != "pretrained":
            _check_heads(self.width, self.heads)
        return self

    @model_validator(mode="after")
    def _items_have_a_source(self) -> Self:
        if (self.item_embeddings == "text") != bool(self.text_encoder):
            raise ValueError(
                f"item_embeddings is '{self.item_embeddings}' and text_encoder is "
                f"'{self.text_encoder}'; expected a text_encoder with 'text' and only with it"
            )
        if self.kind == "ensemble" and self.item_embeddings == "pretrained":
            raise ValueError(
                "kind is 'ensemble' and item_embeddings is 'pretrained'; expected 'random' or 'text': "
                "what pretrain_items learned of all users would tell each network of its own fold"
            )
        if self.freeze_items and self.item_embeddings == "random":
            raise ValueError(
                "freeze_items is true and item_embeddings is 'random'; expected 'pretrained' or "
                "'text', since random ones that stay as they are say nothing"
            )
        return self

    def depth(self) -> tuple[str, int]:
        """Layers of the network whose states the cache keeps, and the setting that says so."""
        if self.kind == "pretrained" and self.pretrained is not None:
            return "train_teacher.pretrained.layers", self.pretrained.layers
        return "train_teacher.layers", self.layers


class CacheTeacher(Section):
    """What is kept of the teacher for every training position."""

    blocks: Positive = 1
    """Equal groups of layers; the hidden state is kept at the end of each."""
    top_k: Positive = 32
    """Catalogue scores kept a position."""
    states: Literal["bfloat16", "int8"] = "bfloat16"
    """Type of the hidden states kept; `int8` has a scale for each position and block, and half the
    size."""
    attention: bool = False
    """Keep where each position looked in the last layer of every block: 2 · blocks · max_length bytes
    a position."""
    shards: Positive = 2
    """Parts, by user, that are computed in parallel tasks."""
    batch_tokens: Positive = 4096


class LossWeights(Section):
    """L = ce + Σ weight · term, each averaged over blocks and positions; 0 switches a term off."""

    cosine: Weight = 1.0
    """λ1 · (1 − cos(h_teacher, h_student)) at each block end."""
    norm: Weight = 0.1
    """λ2 · ‖h_teacher − h_student‖² / width at each block end."""
    multi_supervision: Weight = 0.1
    """λ3 · cross-entropy of a head at each inner block end; no effect with one block."""
    logits: Weight = 0.5
    """λ4 · KL(teacher ‖ student): the teacher over its cached top-K items, the student over the whole
    catalogue, so that what it gives to other items counts against it."""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    """Of the KL on logits, both sides; its square multiplies the term."""
    attention: Weight = 0.0
    """λ5 · KL(teacher ‖ student) of where each position looks in the last layer of a block, the mean
    over heads; needs `cache_teacher.attention`."""


class SequenceWeights(Section):
    """What a training target counts in the cross-entropy by its place in the history.

    Weights multiply each other and those of `training.recency_half_life_days`; null: all alike.
    """

    position_half_life: Annotated[float, Field(gt=0)] | None = None
    """A target counts half as much for every so many interactions before the end of its user's
    training history."""
    gap_half_life_days: Annotated[float, Field(gt=0)] | None = None
    """A target counts half as much for every so many days since the interaction before it. No effect on
    logs that have only an order: their times are places in the history, which count as seconds."""


class DistillStudent(Section):
    """The student and what it learns from the cache."""

    layers: Positive = 1
    """Decoder layers, fewer than the teacher's."""
    initial_layers: Literal["first", "block_influence", "random"] = "first"
    """Copied from the teacher: its first layers, or those that turn their input furthest (ShortGPT,
    arXiv 2403.03853); `random`: none. A student whose width, heads or feed_forward are not the
    teacher's, or whose teacher is no decoder of ours, starts with random layers."""
    width: Positive | None = None
    """Null: the teacher's. Another width starts from the teacher's item embeddings, projected, and has
    a learned map to the teacher's width at each block end, which is dropped afterwards."""
    heads: Positive | None = None
    """Null: the teacher's in the teacher's width, else one for each 32 of the width."""
    feed_forward: Positive | None = None
    """Null: the teacher's in the teacher's width, else four times the width."""
    memory: Annotated[int, Field(ge=0)] = 64
    """Transitions of each item that the student keeps beside its layers, where its teacher is an
    ensemble and so has counted them; 0: none."""
    losses: LossWeights = LossWeights()
    sequence_weights: SequenceWeights = SequenceWeights()
    training: Training = Training()

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        if self.width is not None:
            _check_heads(self.width, self.heads or 1)
        return self


class Variant(Section):
    """One compressed student."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,40}$")]
    feed_forward_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of feed-forward channels kept, the most important ones by activation."""
    weights: Literal["float32", "int8"] = "int8"
    """Type of the exported weights; `int8` is dynamic quantization in ONNX Runtime."""


class EvaluateModels(Section):
    """How models are compared."""

    cutoffs: tuple[Positive, ...] = (1, 5, 10, 20)
    """k of HR@k and NDCG@k."""
    filter_seen: bool = True
    """Items of the user's history are not ranked."""
    resamples: Positive = 10_000
    """Bootstrap resamples over users for every interval."""
    max_ndcg_loss: Share = 0.01
    """The smallest variant that loses at most this share of the student's NDCG@10 is the candidate."""
    latency_requests: Positive = 200
    """Timed single-user requests a model, after warm-up."""
    batch_users: Positive = 256
    """Users scored at once."""
    seed: Seed = 17


class PromoteModel(Section):
    """Whether the candidate becomes production."""

    gates: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")] = "gates"
    """File `validation/<name>.yaml`."""


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
        Variant(name="int8"),
        Variant(name="pruned-int8", feed_forward_share=0.75),
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
            _check_heads(width, heads, "distill_student.")
        attention = self.distill_student.losses.attention
        if attention and not self.cache_teacher.attention:
            raise ValueError(
                f"distill_student.losses.attention is {attention:g} and cache_teacher.attention is "
                "false; set cache_teacher.attention to true"
            )
        names = [variant.name for variant in self.variants]
        if len(set(names)) < len(names):
            raise ValueError(f"variants: the names {names} are not all different")
        reserved = {"popularity", "transitions", "sasrec", "teacher", "student"} & set(names)
        if reserved:
            raise ValueError(
                f"variants: {sorted(reserved)} are names of other models; choose others"
            )
        if not names:
            raise ValueError("variants: none given, expected at least one compressed student")
        return self


def explain(model: type[BaseModel], error: ValidationError, source: str) -> str:
    """A line for each problem: source, field, what was found and what is allowed."""
    lines = []
    for problem in error.errors(include_url=False):
        location = [str(part) for part in problem["loc"]]
        path = ".".join(location) or "(whole configuration)"
        if problem["type"] == "extra_forbidden":
            allowed = _allowed_keys(model, location[:-1])
            close = difflib.get_close_matches(location[-1], allowed, n=1)
            hint = f"did you mean '{close[0]}'? " if close else ""
            lines.append(f"{path}: unknown key; {hint}allowed here: {', '.join(allowed)}")
        elif problem["type"] == "value_error":
            lines.append(f"{path}: {problem['ctx']['error']}")
        else:
            lines.append(f"{path}: found {problem['input']!r}; {problem['msg'].lower()}")
    return f"{source}: " + f"\n{source}: ".join(lines)


def _allowed_keys(model: type[BaseModel], location: list[str]) -> list[str]:
    current: Any = model
    for name in location:
        if name.isdigit():  # a place in a list
            continue
        if isinstance(current, type) and issubclass(current, BaseModel):
            field = current.model_fields.get(name)
            current = _section(field.annotation) if field else None
    if isinstance(current, type) and issubclass(current, BaseModel):
        return list(current.model_fields)
    return []


def _section(annotation: Any) -> Any:
    """The section itself where it is optional or in a list."""
    return next((part for part in get_args(annotation) if part is not type(None)), annotation)
