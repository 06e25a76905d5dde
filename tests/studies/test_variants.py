import pytest

from slmrec.config import LossWeights, PipelineConfig
from slmrec.config_file import change_config
from slmrec.errors import ConfigError
from slmrec.studies.variants import (
    AWAITED,
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


def test_all_has_every_term_whose_setting_exists() -> None:
    config = change_config(PipelineConfig(), ["distill_student.losses.cosine=0"])
    losses = variant_config("all", config).losses
    assert all(getattr(losses, field) > 0 for field in NAMED.values())


def test_an_awaited_switch_is_one_whose_setting_is_unknown() -> None:
    for name, switch in SWITCHES.items():
        override = [f"{switch.setting}={switch.usual}"]
        if name in AWAITED:
            with pytest.raises(ConfigError, match="unknown key"):
                change_config(PipelineConfig(), override)
        else:
            change_config(PipelineConfig(), override)


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
