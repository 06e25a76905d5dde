"""A training step from the command line."""

import json
from pathlib import Path

import pytest

from components.pretrain_items.step import run as pretrain_items
from components.run_step import main
from slmrec.artifacts import open_artifact
from tests.components.tiny_steps import SASREC, publish_circles


def test_step_does_what_the_orchestrator_would_have_it_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish_circles(tmp_path / "sequences")
    at, config = str(tmp_path / "sequences"), SASREC.to_json()
    said = pretrain_items(at, config, str(tmp_path / "orchestrated"))
    made = ["--items-model", str(tmp_path / "by-hand")]
    main(["pretrain_items", "--sequences", at, "--config", config, *made])
    assert json.loads(capsys.readouterr().out)["digests"] == said["digests"]
    assert open_artifact(tmp_path / "by-hand", "sasrec").digest == said["digest"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["promote_model"], "invalid choice: 'promote_model'"),
        (["pretrain_items", "--sequences", "a"], "required: --config, --items-model"),
        (["distill_student", "--caches"], "--caches: expected at least one argument"),
        (["pretrain_items", "--student", "a"], "required: --sequences"),
    ],
)
def test_usage_is_told_when_arguments_do_not_fit(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
