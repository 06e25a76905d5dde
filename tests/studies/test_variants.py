import pytest

from slmrec.config import LossWeights, PipelineConfig
from slmrec.config_file import change_config
from slmrec.errors import ConfigError
from slmrec.studies import variants
from slmrec.studies.variants import (
    SWITCHES,
    VARIANTS,
    choose_variants,
    left_out,
    shared_config,
    variant_config,
)

NAMED = {"cosine": "cosine", "norm": "norm", "ms": "multi_supervision", "logits": "logits"}
"""Switch → field of `LossWeights`."""


@pytest.mark.parametrize(("switch", "field"), NAMED.items())
def test_a_variant_has_its_own_term_at_the_configured_weight_and_no_other(switch, field) -> None:
    config = change_config(PipelineConfig(), [f"distill_student.losses.{field}=0.25"])
    name = next(name for name, on in VARIANTS.items() if on == (switch,))
    losses = variant_config(name, config).losses
    assert {other: getattr(losses, other) for other in NAMED.values()} == {
        other: 0.25 if other == field else 0 for other in NAMED.values()
    }


@pytest.mark.parametrize("name", ["ce", "ce-fresh"])
def test_nothing_is_distilled_without_a_term(name) -> None:
    losses = variant_config(name, PipelineConfig()).losses
    assert [getattr(losses, field) for field in NAMED.values()] == [0, 0, 0, 0]


def test_a_term_that_the_settings_switch_off_has_its_usual_weight() -> None:
    config = change_config(PipelineConfig(), ["distill_student.losses.logits=0"])
    assert variant_config("+logits", config).losses.logits == 0.5
    usual = LossWeights()
    for switch, field in NAMED.items():
        assert float(SWITCHES[switch].usual) == getattr(usual, field)


def test_all_has_every_term() -> None:
    config = change_config(PipelineConfig(), ["distill_student.losses.cosine=0"])
    student = variant_config("all", shared_config(["all"], config))
    assert all(getattr(student.losses, field) > 0 for field in (*NAMED.values(), "attention"))
    assert student.sequence_weights.position_half_life == 10


def test_attention_is_kept_in_the_cache_of_all_when_one_variant_needs_it() -> None:
    config = shared_config(["ce", "+attention"], PipelineConfig())
    assert config.cache_teacher.attention
    assert variant_config("+attention", config).losses.attention == 0.1
    assert variant_config("ce", config).losses.attention == 0


def test_targets_are_weighted_by_place_in_their_own_variant_alone() -> None:
    config = PipelineConfig()
    assert variant_config("+weighting", config).sequence_weights.position_half_life == 10
    assert variant_config("+logits", config).sequence_weights.position_half_life is None


def test_multi_supervision_is_left_out_when_there_is_one_block() -> None:
    assert "cache_teacher.blocks is 1" in left_out(["ce+ms", "all"], PipelineConfig())["ce+ms"]
    two = change_config(PipelineConfig(), ["cache_teacher.blocks=2", "distill_student.layers=2"])
    assert left_out(["ce+ms", "all"], two) == {}


def test_teacher_and_cache_stay_as_configured_when_no_variant_needs_more() -> None:
    config = PipelineConfig()
    assert shared_config(["ce", "+cosine"], config) == config


def test_variants_come_in_the_order_of_the_table_with_both_baselines() -> None:
    assert choose_variants("+norm, +cosine") == ("ce-fresh", "ce", "+cosine", "+norm")
    assert choose_variants("") == tuple(VARIANTS)
    with pytest.raises(ConfigError, match=r"unknown variant '\+cosin'"):
        choose_variants("+cosin")


def test_no_term_is_on_that_no_variant_is_about(monkeypatch) -> None:
    left = {name: switch for name, switch in variants.SWITCHES.items() if name != "cosine"}
    monkeypatch.setattr(variants, "SWITCHES", left)
    monkeypatch.setattr(variants, "OTHER_TERMS", ["distill_student.losses.cosine"])
    losses = variants.variant_config("+norm", PipelineConfig()).losses
    assert (losses.cosine, losses.norm) == (0, PipelineConfig().distill_student.losses.norm)


def test_every_weight_of_the_losses_is_in_the_table_or_off() -> None:
    named = {switch.setting.rpartition(".")[2] for switch in variants.SWITCHES.values()}
    weights = {*LossWeights.model_fields} - {"temperature"}  # which is no weight
    assert {term.rpartition(".")[2] for term in variants.OTHER_TERMS} == weights - named
