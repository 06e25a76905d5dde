"""The student before its training, and what stands beside it while it learns."""

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from slmrec.config import DistillStudent
from slmrec.data.sequences import Sequences
from slmrec.distillation.block_influence import block_influence, most_influential
from slmrec.distillation.read_cache import TeacherCache
from slmrec.errors import ConfigError
from slmrec.models.decoder import Decoder, DecoderShape
from slmrec.models.encoder import SequenceEncoder
from slmrec.models.item_tables import fit_width
from slmrec.progress import Progress

HEAD_WIDTH = 32
"""Width of an attention head where neither settings nor teacher say how many there are."""


class Scaffold(nn.Module):
    """Modules that exist only while the student learns; they are dropped afterwards."""

    def __init__(self, width: int, blocks: int, teacher_width: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(nn.RMSNorm(width), nn.Linear(width, width, bias=False))
            for _ in range(blocks - 1)
        )
        """One for each inner block end, making its state one that items can be scored with."""
        self.projections = nn.ModuleList(
            nn.Linear(width, teacher_width, bias=False)
            for _ in range(blocks if width != teacher_width else 0)
        )
        """One for each block end, from the student's width to its teacher's; none if they are alike."""

    def inner_states(self, states: list[Tensor]) -> list[Tensor]:
        """The states of all block ends but the last, as items can be scored with them."""
        return [head(state) for head, state in zip(self.heads, states[:-1], strict=True)]

    def in_teacher_width(self, states: list[Tensor]) -> list[Tensor]:
        """The states of all block ends as they are compared with the teacher's."""
        if not self.projections:
            return states
        return [project(s) for project, s in zip(self.projections, states, strict=True)]


def build_student(
    teacher: SequenceEncoder | None,
    sequences: Sequences,
    cache: TeacherCache,
    config: DistillStudent,
    progress: Progress,
) -> Decoder:
    """A student as the settings say, not trained yet.

    `teacher` gives its item embeddings and, where it is a decoder of the student's shape, layers and
    final norm; without one everything starts at random. It makes no forward pass, except over a sample
    of histories to choose layers by Block Influence. Raises `ConfigError` when the settings fit
    neither each other nor the teacher.
    """
    decoder = teacher if isinstance(teacher, Decoder) else None
    if decoder is not None and config.layers > decoder.shape.layers:
        raise ConfigError(
            f"distill_student.layers is {config.layers} and the teacher has {decoder.shape.layers}; "
            "the student must have fewer layers than its teacher"
        )
    shape = _shape(decoder, sequences.item_count, cache, config)
    if decoder is None or not _same_layers(shape, decoder.shape):
        if config.initial_layers == "block_influence":
            raise ConfigError(
                "distill_student.initial_layers is block_influence, and there are no layers to choose "
                "from: the teacher has none of the student's width, heads and feed_forward; leave "
                "these out, or set initial_layers to random"
            )
        if config.initial_layers == "first":
            progress.say(
                "the student's layers start at random: its teacher has none of their shape"
            )
    elif config.initial_layers != "random":
        chosen = _chosen_layers(decoder, sequences, config, progress)
        return decoder.with_layers(
            chosen, config.training.dropout, config.training.embedding_dropout
        )
    student = Decoder(shape, config.training.dropout, config.training.embedding_dropout)
    if teacher is not None:
        table = fit_width(teacher.items.weight.detach(), shape.width, config.training.seed)
        with torch.no_grad():
            student.items.weight.copy_(table)
    return student


def _chosen_layers(
    decoder: Decoder, sequences: Sequences, config: DistillStudent, progress: Progress
) -> list[int]:
    if config.initial_layers == "first":
        return list(range(config.layers))
    influence = block_influence(decoder, sequences)
    chosen = most_influential(influence, config.layers)
    progress.say(
        f"influence of the teacher's layers: {', '.join(f'{value:.3f}' for value in influence)}; "
        f"the student starts from {', '.join(str(layer + 1) for layer in chosen)}"
    )
    return chosen


def _shape(
    decoder: Decoder | None, items: int, cache: TeacherCache, config: DistillStudent
) -> DecoderShape:
    width = config.width or cache.width
    like = decoder.shape if decoder is not None and decoder.shape.width == width else None
    heads = config.heads or (like.heads if like else default_heads(width))
    if config.feed_forward is None and like is not None:
        feed_forward = like.feed_forward[: config.layers]
    else:
        feed_forward = (config.feed_forward or 4 * width,) * config.layers
    try:
        return DecoderShape(
            items=items,
            width=width,
            heads=heads,
            feed_forward=feed_forward,
            max_length=cache.max_length,
        )
    except ValidationError as error:
        reason = error.errors()[0]["ctx"]["error"]
        raise ConfigError(
            f"distill_student: {reason}; set distill_student.heads or width"
        ) from None


def default_heads(width: int) -> int:
    """One for each `HEAD_WIDTH`, or the next smaller number that divides the width evenly."""
    most = max(width // HEAD_WIDTH, 1)
    return next((heads for heads in range(most, 0, -1) if width % (2 * heads) == 0), most)


def _same_layers(mine: DecoderShape, theirs: DecoderShape) -> bool:
    widths = (mine.width, mine.heads, mine.feed_forward)
    return widths == (theirs.width, theirs.heads, theirs.feed_forward[: mine.layers])
