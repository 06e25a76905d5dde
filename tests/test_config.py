from pathlib import Path

import pytest

from slmrec.config import (
    BuildSequences,
    DistillStudent,
    PipelineConfig,
    TrainTeacher,
    Variant,
)
from slmrec.config_file import change_config, load_config, parse_config
from slmrec.errors import ConfigError


def write(folder: Path, text: str) -> Path:
    path = folder / "settings.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_settings_come_from_the_file_and_overrides_win(tmp_path: Path) -> None:
    path = write(tmp_path, "train_teacher: {layers: 12}\n")
    overrides = ["train_teacher.width=96", "distill_student.training.learning_rate=1e-3"]
    config = load_config(path, overrides)
    assert config.train_teacher.layers == 12
    assert config.train_teacher.width == 96
    assert config.distill_student.training.learning_rate == 0.001
    assert config.build_sequences == BuildSequences()


def test_override_changes_settings_that_were_checked_before() -> None:
    config = change_config(
        PipelineConfig(),
        ["train_teacher.pretrained.checkpoint=folder", "train_teacher.kind=pretrained"],
    )
    assert config.train_teacher.pretrained is not None  # a section that was not there
    assert config.train_teacher.pretrained.checkpoint == "folder"
    assert change_config(config, []) == config
    with pytest.raises(ConfigError, match=r"--set: train_teacher\.layres: unknown key"):
        change_config(config, ["train_teacher.layres=2"])


def test_section_survives_the_way_through_json() -> None:
    config = TrainTeacher(layers=6, training={"seed": 5, "learning_rate": 0.01})
    assert TrainTeacher.from_json(config.to_json()) == config
    assert config.to_json() == TrainTeacher.from_json(config.to_json()).to_json()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "train_teacher: {layres: 4}",
            r"train_teacher\.layres: unknown key; did you mean 'layers'",
        ),
        ("trainteacher: {}", r"trainteacher: unknown key; did you mean 'train_teacher'"),
        (
            "distill_student: {training: {epoch: 3}}",
            r"distill_student\.training\.epoch: .*'epochs'",
        ),
        ("variants: [{name: a, weight: int8}]", r"variants\.0\.weight: .*did you mean 'weights'"),
        ("train_teacher: {layers: 0}", r"train_teacher\.layers: found 0; .*greater than 0"),
        ("train_teacher: {layers: deep}", r"train_teacher\.layers: found 'deep'"),
        (
            "build_sequences: {split: random}",
            r"build_sequences\.split: found 'random'; .*global_time",
        ),
        (
            "train_teacher: {layers: 2}\ndistill_student: {layers: 2}",
            "fewer layers than its teacher",
        ),
        (
            "distill_student: {losses: {attention: 0.1}}",
            r"losses\.attention is 0\.1 and .*; set cache_teacher\.attention to true",
        ),
        (
            "distill_student: {width: 48, heads: 5}",
            "heads is 5 and width is 48; expected heads to divide width",
        ),
        (
            "distill_student: {heads: 3}",
            r"distill_student\.heads is 3 and width is 64; expected heads to divide width",
        ),
        ("cache_teacher: {blocks: 3}", r"blocks is 3 and does not divide train_teacher\.layers, 8"),
        ("train_teacher: {width: 30, heads: 4}", "heads is 4 and width is 30"),
        ("train_teacher: {kind: pretrained}", "the section 'pretrained' is missing"),
        (
            "train_teacher: {kind: pretrained, pretrained: {checkpoint: m, lora_rang: 4}}",
            r"train_teacher\.pretrained\.lora_rang: unknown key; did you mean 'lora_rank'",
        ),
        ("train_teacher: {pretrained: {checkpoint: ''}}", r"pretrained\.checkpoint: found ''"),
        (
            "train_teacher: {kind: pretrained, pretrained: {checkpoint: m, layers: 1}}",
            r"layers is 1 and train_teacher\.pretrained\.layers is 1",
        ),
        (
            "train_teacher: {kind: pretrained, pretrained: {checkpoint: m, layers: 3}}\n"
            "cache_teacher: {blocks: 2}\ndistill_student: {layers: 2}",
            r"blocks is 2 and does not divide train_teacher\.pretrained\.layers, 3",
        ),
        ("train_teacher: {item_embeddings: text}", "expected a text_encoder with 'text'"),
        ("train_teacher: {text_encoder: m}", "expected a text_encoder with 'text'"),
        ("train_teacher: {item_embeddings: random, freeze_items: true}", "freeze_items is true"),
        ("variants: []", "at least one compressed student"),
        ("variants: [{name: a}]", "none keeps the student as it is, in float32"),
        (
            "variants: [{name: a, weights: float32, memory: 8}]",
            "none keeps the student as it is, in float32",
        ),
        (
            "distill_student: {width: 48, heads: 2}\n"
            "variants: [{name: f, weights: float32}, {name: b, weights: int4}]",
            "'b' cannot be made: weights 'int4' of a student of width 48",
        ),
        (
            "variants: [{name: f, weights: float32}, {name: b, product_bytes: 7}]",
            "'b' cannot be made: product_bytes is 7",
        ),
        (
            "variants: [{name: f, weights: float32}, {name: b, weights: int4, product_bytes: 8}]",
            "product_bytes needs weights 'int8'",
        ),
        (
            "distill_student: {layers: 1}\n"
            "variants: [{name: f, weights: float32}, {name: b, layers: 3}]",
            "'b' cannot be made: layers is 3, expected at most the student's 1",
        ),
        (
            "train_teacher: {layers: 4}\ncache_teacher: {blocks: 2}\ndistill_student: {layers: 2}\n"
            "variants: [{name: f, weights: float32}, {name: b, layers: 1, recovery: {}}]",
            r"'b' cannot be made: recovery learns from a cache of 2 blocks",
        ),
        (
            "distill_student: {feed_forward: 250}\n"
            "variants: [{name: f, weights: float32}, {name: b, sparsity: {two_of_four: true}}]",
            "'b' cannot be made: two_of_four of a student of feed_forward 250",
        ),
        ("variants: [{name: f, weights: float32}, {name: target_cold}]", "columns beside theirs"),
        ("variants: [{name: a}, {name: a}]", "not all different"),
        ("build_sequences: {test_share: 0.5, validation_share: 0.45}", "training data remain"),
        ("variants: [{name: teacher}]", "names of other models"),
        ("train_teacher: {training: {learning_rate: .inf}}", "finite number"),
        ("train_teacher: {training: {dropout: 1.0}}", "less than 1"),
        ("train_teacher: {training: {seed: -1}}", r"training\.seed: found -1"),
        ("train_teacher: {max_length: 1}", r"max_length: found 1"),
        ("promote_model: {gates: ../../gates}", r"promote_model\.gates"),
        ("[]", "expected a mapping of step names, found list"),
        ("- a\n- b", "expected a mapping of step names, found list"),
        ("a: [", "not valid YAML"),
        ("a: !!python/object/apply:os.system [id]", "not valid YAML"),
    ],
)
def test_bad_setting_is_named_with_what_is_allowed(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(write(tmp_path, text))


@pytest.mark.parametrize(
    "override", ["train_teacher.layers", "=3", "train_teacher.layers.deep.er=3"]
)
def test_bad_override_is_refused(tmp_path: Path, override: str) -> None:
    with pytest.raises(ConfigError, match=r"--set|train_teacher"):
        load_config(write(tmp_path, "train_teacher: {layers: 4}"), [override])


def test_layers_that_count_are_those_of_the_checkpoint_when_the_teacher_is_pretrained(
    tmp_path: Path,
) -> None:
    text = "distill_student: {layers: 4}\ntrain_teacher: {layers: 1, heads: 3, kind: pretrained}"
    override = ["train_teacher.pretrained.checkpoint=owner/model"]
    config = load_config(write(tmp_path, text), override).train_teacher
    assert config.depth() == ("train_teacher.pretrained.layers", 8)
    assert config.pretrained is not None
    assert config.pretrained.lora_modules == ("gate_proj", "up_proj", "down_proj")
    assert TrainTeacher.from_json(config.to_json()) == config


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.yaml: no such configuration file"):
        load_config(tmp_path / "absent.yaml")


def test_file_that_is_not_text_or_no_file_is_named(tmp_path: Path) -> None:
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    for path in (binary, tmp_path):
        with pytest.raises(ConfigError, match="cannot be read as a UTF-8 file"):
            load_config(path)


def test_empty_file_gives_the_defaults(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, "# nothing\n")) == PipelineConfig()


def test_step_refuses_a_section_with_an_unknown_key() -> None:
    with pytest.raises(ConfigError, match=r"step configuration: depth: unknown key"):
        DistillStudent.from_json('{"depth": 3}')


def test_settings_cannot_be_changed_after_they_were_checked() -> None:
    with pytest.raises(ValueError, match="frozen"):
        PipelineConfig().train_teacher.layers = 3  # type: ignore[misc]


def test_variant_name_cannot_leave_its_folder() -> None:
    with pytest.raises(ConfigError, match=r"variants\.0\.name"):
        parse_config({"variants": [{"name": "../x"}]}, "test")
    assert Variant(name="int8").weights == "int8"


@pytest.mark.parametrize("name", ["sample", "default", "paper", "study"])
def test_shipped_configuration_loads_and_keeps_the_student_small(name: str) -> None:
    config = load_config(Path(__file__).parents[1] / "pipeline" / "configs" / f"{name}.yaml")
    teacher = config.train_teacher
    networks = teacher.ensemble.folds if teacher.kind == "ensemble" else 1
    share = config.distill_student.layers / (teacher.layers * networks)
    assert share <= {"paper": 0.5, "study": 0.25}.get(name, 0.13)
