"""The students that the ablation compares, each as changes to the settings.

A variant switches some terms on and all others off. A term that is on has the weight that the
settings give it or, where they switch it off, its usual one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slmrec.config import DistillStudent, LossWeights, PipelineConfig
from slmrec.config_file import change_config
from slmrec.errors import ConfigError

FRESH = "ce-fresh"
"""A model of the student's size that never saw a teacher: random layers, and item embeddings from
where the teacher's own training starts them."""
PLAIN = "ce"
"""A student that starts as all others do, from the teacher's first layers, and is not distilled."""
ALL = "all"


@dataclass(frozen=True)
class Switch:
    """A setting that turns one idea of the method on."""

    setting: str
    off: str
    """What switches it off, as `--set` takes it."""
    usual: str
    """What it is where the settings have it off."""
    needs: tuple[str, ...] = ()
    """Further overrides, which all variants of the study share."""


SWITCHES: Mapping[str, Switch] = {
    "ms": Switch("distill_student.losses.multi_supervision", "0", "0.1"),
    "cosine": Switch("distill_student.losses.cosine", "0", "1"),
    "norm": Switch("distill_student.losses.norm", "0", "0.1"),
    "logits": Switch("distill_student.losses.logits", "0", "0.5"),
    "attention": Switch(
        "distill_student.losses.attention", "0", "0.1", ("cache_teacher.attention=true",)
    ),
    "weighting": Switch("distill_student.sequence_weights.position_half_life", "null", "10"),
}

_TERMS = [
    f"distill_student.losses.{name}"
    for name, field in LossWeights.model_fields.items()
    if any(getattr(bound, "ge", None) == 0 for bound in field.metadata)
]
"""Weights of terms: 0 switches one off."""
OTHER_TERMS = sorted({*_TERMS} - {switch.setting for switch in SWITCHES.values()})
"""Those that no variant is about: they are off in all."""

VARIANTS: Mapping[str, tuple[str, ...]] = {
    FRESH: (),
    PLAIN: (),
    "ce+ms": ("ms",),
    "+cosine": ("cosine",),
    "+norm": ("norm",),
    "+logits": ("logits",),
    "+attention": ("attention",),
    "+weighting": ("weighting",),
    ALL: tuple(SWITCHES),
}
"""Name → switches that are on."""


def choose_variants(names: str) -> tuple[str, ...]:
    """The variants that a comma-separated list names, in the table's order; all for an empty one.

    Both that the others are compared with are always among them. Raises `ConfigError` for a name
    that is not in the table.
    """
    asked = [name.strip() for name in names.split(",") if name.strip()] or list(VARIANTS)
    for name in asked:
        if name not in VARIANTS:
            raise ConfigError(
                f"--variants: unknown variant '{name}', expected some of {', '.join(VARIANTS)}"
            )
    return tuple(name for name in VARIANTS if name in {*asked, FRESH, PLAIN})


def left_out(names: Iterable[str], config: PipelineConfig) -> dict[str, str]:
    """Variants that cannot be trained with these settings, and why."""
    reasons = {}
    for name in names:
        if VARIANTS[name] == ("ms",) and config.cache_teacher.blocks == 1:
            reasons[name] = (
                f"cache_teacher.blocks is 1: there is no inner block end, so it is '{PLAIN}'"
            )
    return reasons


def shared_config(names: Sequence[str], config: PipelineConfig) -> PipelineConfig:
    """The settings with what the variants need of teacher and cache, which they share."""
    switches = dict.fromkeys(switch for name in names for switch in VARIANTS[name])
    return change_config(config, [need for switch in switches for need in SWITCHES[switch].needs])


def variant_config(name: str, config: PipelineConfig) -> DistillStudent:
    """The student's settings under a variant."""
    settings = config.model_dump(mode="json")
    overrides = [f"{setting}=0" for setting in OTHER_TERMS]
    for switch, described in SWITCHES.items():
        if switch not in VARIANTS[name]:
            overrides.append(f"{described.setting}={described.off}")
        elif not _value(settings, described.setting):
            overrides.append(f"{described.setting}={described.usual}")
    return change_config(config, overrides).distill_student


def _value(settings: Any, path: str) -> Any:
    for part in path.split("."):
        settings = (settings or {}).get(part)  # an optional section may be absent
    return settings
