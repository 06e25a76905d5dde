import numpy as np
import pytest

from slmrec.config import EvaluateModels
from slmrec.config_file import change_config
from slmrec.errors import ConfigError, DataError
from slmrec.studies.outcome import Table
from slmrec.studies.page import markdown
from slmrec.studies.quality import Evaluator, Measured, compare
from slmrec.studies.trainings import require_layers


def test_metrics_of_a_user_are_averaged_over_seeds() -> None:
    far = np.full(40, 99, dtype=np.int32)
    first, second = np.ones(40, dtype=np.int32), np.full(40, 3, dtype=np.int32)
    good, bad = Measured("good", [first, second], 7), Measured("bad", [far], 9)
    row, other = compare([good, bad], ["bad"], EvaluateModels(resamples=100))
    ndcg = (1 + 1 / np.log2(4)) / 2
    assert row["metrics"]["ndcg@10"]["value"] == pytest.approx(ndcg)
    assert row["metrics"]["hr@10"]["value"] == 1
    assert row["by_seed"] == [1, 0.5]
    assert row["versus"]["bad"]["difference"] == pytest.approx(ndcg)
    assert row["versus"]["bad"]["ci95"][0] > 0
    assert other["versus"] == {}
    assert (row["parameters_backbone"], other["parameters_backbone"]) == (7, 9)


def test_a_log_without_test_users_is_refused(make_sequences, kept) -> None:
    sequences = make_sequences([[1, 2, 3]])
    sequences.validation_end[:] = sequences.offsets[1:]
    with pytest.raises(DataError, match="no user has a test interaction"):
        Evaluator(sequences, EvaluateModels(), kept)


def test_a_pretrained_teacher_is_refused_where_layers_are_taken_apart(make_job) -> None:
    config = change_config(
        make_job("depth").config,
        ["train_teacher.kind=pretrained", "train_teacher.pretrained.checkpoint=folder"],
    )
    with pytest.raises(ConfigError, match="expected 'scratch'"):
        require_layers(config)


def test_a_name_cannot_break_out_of_its_cell() -> None:
    table = Table("", ("a", "b"), [["x|y", "<script>"]])
    assert markdown(table).splitlines()[-1] == "| x\\|y | &lt;script> |"
