"""What the speed benchmarks compute from what they time."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from benchmarks.check import compared
from benchmarks.speed import machine, page
from benchmarks.speed.inference import rate
from benchmarks.speed.measured import Figure, Measured, Ratio, Spread, number
from benchmarks.speed.options import Options
from benchmarks.speed.pipeline import useful_seconds
from benchmarks.speed.quality import curve_of_lists, our_seed, ratios_of
from benchmarks.speed.quality import measure as measure_quality
from benchmarks.speed.scaling import exponent
from benchmarks.speed.sides.epochs import Clock, flop_per_target
from benchmarks.speed.sides.growth import made_up
from benchmarks.speed.sides.prepare import training_interactions
from benchmarks.speed.training import beside_peers, epoch_seconds
from benchmarks.speed.turns import Side, ours, run, take_turns
from slmrec.config import PretrainItems, Training
from slmrec.data.sequences import Sequences
from slmrec.models.decoder import Decoder, DecoderShape
from slmrec.training.pretrain import train_sasrec
from slmrec.training.validation import validation_sample

MACHINE = {
    "processor": "one",
    "threads": 2,
    "peak_gflops": {"float32": 100.0, "bfloat16": 400.0},
    "copy_gb_per_second": 10.0,
}


def measured(*ratios: Ratio, **more: object) -> Measured:
    figures = [Figure("a", "an epoch", "s", Spread(2.0, 1.0, 3.0))]
    return replace(
        Measured("training", "Training", {"turns": 3}, MACHINE, {"torch": "2"}, figures, ratios),
        **more,
    )


@pytest.fixture
def sequences() -> Sequences:
    """Three people: items 1 2 3 4, 5 6 7 and 8 9 10; the last one tests, the one before validates."""
    offsets = np.asarray([0, 4, 7, 10])
    return Sequences(
        offsets=offsets,
        items=np.arange(1, 11, dtype=np.int32),
        timestamps=np.arange(10),
        train_end=offsets[1:] - 2,
        validation_end=offsets[1:] - 1,
        item_count=10,
    )


def test_spread_is_the_middle_and_the_ends() -> None:
    assert Spread.of([3.0, 1.0, 10.0]) == Spread(3.0, 1.0, 10.0)
    assert Spread.of([2.0]).shown() == "2.00"
    assert Spread.of([1234.5, 1200.0]).shown() == "1,217 (1,200 – 1,234)"


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.01234, "0.0123"), (1.2345, "1.23"), (98.76, "98.8")]
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert number(value) == text


def test_a_case_is_read_as_it_was_written(tmp_path: Path) -> None:
    case = measured(Ratio("r", Spread(2, 1, 3), 1.5), curves={"c": [(1.0, 2.0)]}, notes=["n"])
    path = tmp_path / "training.json"
    path.write_text(case.to_json(), encoding="utf-8")
    assert Measured.read(path).to_json() == case.to_json()


def test_a_ratio_is_kept_from_what_was_asked_on() -> None:
    assert Ratio("r", Spread(2, 1, 3), 2.0).kept
    assert not Ratio("r", Spread(1.99, 1, 3), 2.0).kept
    assert Ratio("r", Spread(0.1, 0.1, 0.1)).kept


def test_ratios_are_lost_below_four_fifths_or_when_nobody_measured_them() -> None:
    before = measured(*(Ratio(name, Spread(10, 9, 11)) for name in "abc"))
    now = measured(Ratio("a", Spread(8, 8, 8)), Ratio("b", Spread(7.9, 7.9, 7.9)))
    lines, lost = compared(before, now)
    assert lost == 2
    assert [line.endswith("lost") for line in lines] == [False, True, True]


def test_page_says_what_was_asked_and_missed(tmp_path: Path) -> None:
    page.write(
        tmp_path, [measured(Ratio("kept", Spread(2, 1, 3), 1), Ratio("not", Spread(2, 1, 3), 4))]
    )
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "| kept | 2.00 (1.00 – 3.00) | 1 |" in text
    assert "| not | 2.00 (1.00 – 3.00) | 4 — **missed** |" in text
    assert (tmp_path / "training.svg").read_text(encoding="utf-8").startswith("<?xml")


def test_sides_take_turns_from_either_end(tmp_path: Path) -> None:
    told = tmp_path / "told"
    sides = [
        Side(name, ("sh", "-c", f'echo {name} >> {told}; echo \'{{"of": "{name}"}}\''))
        for name in "ab"
    ]
    found = take_turns(sides, 2)
    assert told.read_text().split() == ["a", "b", "b", "a"]
    assert [one["of"] for one in found["b"]] == ["b", "b"]
    assert all(one["wall_seconds"] > 0 for one in found["a"])


def test_what_a_side_said_is_shown_when_it_fails() -> None:
    with pytest.raises(SystemExit, match="no such thing"):
        run(Side("side", ("sh", "-c", "echo no such thing >&2; exit 3")))


def test_epochs_are_from_the_end_of_one_to_the_end_of_the_next() -> None:
    clock = Clock([1.0, 2.0, 3.0, 5.0, 6.0, 9.0])
    assert clock.epochs(2) == [3.0, 4.0]


def test_the_first_epoch_of_a_peer_warms_up() -> None:
    assert epoch_seconds({"epoch_seconds": [9.0, 3.0, 5.0], "peer": "RePlay"}) == 4.0
    assert epoch_seconds({"epoch_seconds": [3.0, 5.0]}) == 4.0


def test_a_part_of_an_epoch_tells_what_a_whole_one_takes() -> None:
    found = {"epoch_seconds": [9.0, 3.0, 5.0], "peer": "RePlay", "share_of_epoch": 0.25}
    assert epoch_seconds(found) == 16.0


def test_the_fastest_peer_is_that_of_each_turn() -> None:
    sides = [Side(name, ()) for name in ("A", "A tuned", "B", "B tuned")]
    epochs = {
        "slmrec SASRec": [1.0, 2.0],
        "A": [20.0, 90.0],
        "B": [30.0, 80.0],
        "A tuned": [10.0, 10.0],
        "B tuned": [9.0, 12.0],
    }
    *_, installed, tuned = beside_peers(epochs, sides)
    assert (installed.value.low, installed.value.high) == (20.0, 40.0)
    assert (tuned.value.low, tuned.value.high) == (5.0, 9.0)


def test_rates_are_of_all_lists_or_of_a_peers_last_ones() -> None:
    assert rate({"users": 100, "list_seconds": 2.0}) == 50.0
    assert rate({"scored": [{"users_per_second": 1.0}, {"users_per_second": 7.0}]}) == 7.0


def test_instances_of_a_step_run_two_at_a_time() -> None:
    steps = [
        {"name": "a", "seconds": 3.0},
        {"name": "b[1]", "seconds": 2.0},
        {"name": "b[2]", "seconds": 4.0},
        {"name": "b[3]", "seconds": 6.0},
    ]
    assert useful_seconds(steps) == 3.0 + 12.0 / 2


def test_exponent_is_that_of_a_power() -> None:
    assert exponent([(x, 3 * x**1.5) for x in (1.0, 4.0, 9.0)]) == pytest.approx(1.5)


def test_every_weight_of_a_matrix_counts_six_operations_a_target() -> None:
    shape = DecoderShape(items=10, width=8, heads=2, feed_forward=(16,), max_length=5)
    model = Decoder(shape, dropout=0.0, embedding_dropout=0.0)
    layer = 4 * 8 * 8 + 3 * 8 * 16
    assert flop_per_target(model, 10) == 6 * (layer + 10 * 8)


def test_peers_are_given_what_may_be_learnt_from(sequences: Sequences) -> None:
    table = training_interactions(sequences)
    assert table.rows() == [(0, 1, 0), (0, 2, 1), (1, 5, 0), (2, 8, 0)]


def test_lists_are_judged_by_where_the_validation_item_stands(
    sequences: Sequences, tmp_path: Path
) -> None:
    rows = [(1, 0, 1, 3), (1, 1, 3, 6), (1, 2, 1, 10), (2, 0, 1, 4), (2, 2, 2, 9)]
    lists = pl.DataFrame(rows, schema=["epoch", "user", "rank", "item"], orient="row")
    lists.write_parquet(tmp_path / "lists.parquet")
    found = {
        "scored": [{"epoch": epoch} for epoch in (2, 1, 3)],
        "epoch_seconds": [99.0, 10.0, 10.0],
    }
    curve = curve_of_lists(found, tmp_path / "lists.parquet", sequences, our_seed(0))
    first, second = (1 + 1 / math.log2(4)) / 3, 1 / math.log2(3) / 3
    assert curve == [
        (10.0, pytest.approx(first)),
        (20.0, pytest.approx(second)),
        (30.0, 0.0),
    ]


def test_peers_are_judged_by_the_users_that_our_training_validates_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def sample(*asked: object) -> tuple[np.ndarray, np.ndarray]:
        seen.append(validation_sample(*asked, 5)[0].tolist())
        return validation_sample(*asked, 5)

    for module in ("benchmarks.speed.quality", "slmrec.training.loop"):
        monkeypatch.setattr(f"{module}.validation_sample", sample)
    many = made_up(interactions=400, items=9, length=3)
    many = replace(many, train_end=many.offsets[1:] - 2, validation_end=many.offsets[1:] - 1)
    lists = pl.DataFrame({"epoch": [1], "user": [0], "rank": [1], "item": [1]})
    lists.write_parquet(tmp_path / "lists.parquet")
    found = {"scored": [{"epoch": 1}], "epoch_seconds": [1.0]}
    curve_of_lists(found, tmp_path / "lists.parquet", many, our_seed(2))
    training = Training(epochs=1, seed=our_seed(2))
    settings = PretrainItems(width=8, heads=1, layers=1, training=training)
    train_sasrec(many, settings, Clock())
    assert seen[0] == seen[1]


def test_peers_are_beside_us_at_what_they_reach_themselves_and_at_what_the_best_of_them_does() -> (
    None
):
    ours = [(1.0, 0.1), (2.0, 0.3), (3.0, 0.5), (4.0, 0.4)]
    first = {"slmrec": ours, "A": [(12.0, 0.5), (18.0, 0.4)], "B": [(5.0, 0.2), (10.0, 0.25)]}
    second = {"slmrec": ours, "A": [(9.0, 0.29), (15.0, 0.3), (21.0, 0.2)]}

    a, b, together = ratios_of([first, second])

    assert (a.value.low, a.value.high) == (4.0, 7.5)
    assert (b.value.median, b.asked) == (5.0, None)
    assert [one.name.endswith("still rising when stopped") for one in (a, b)] == [False, True]
    assert (together.value.low, together.value.high, together.asked) == (4.0, 7.5, 5.0)


def test_a_quality_that_we_never_reach_is_a_ratio_of_nothing() -> None:
    curves = {"slmrec": [(1.0, 0.1)], "A": [(6.0, 0.2)]}
    assert [one.value.median for one in ratios_of([curves])] == [0, 0]


def test_a_peer_whose_patience_ends_far_from_the_best_is_not_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[tuple[str, str]] = []
    curves = {
        "RecTools": [[(50.0, 0.2)]],
        "RePlay": [[(30.0, 0.4), (60.0, 0.5)], [(40.0, 0.5)]],
    }

    def run(side: Side, before: str) -> dict[str, object]:
        name, asked = side.name.split()[0], side.command
        ran.append((before, f"{name} {asked[asked.index('--seconds') + 1]}"))
        return {"peer": name, "versions": {"python": "3"}}

    monkeypatch.setattr("benchmarks.speed.quality.run", run)
    monkeypatch.setattr("benchmarks.speed.quality.our_curve", lambda *_: [(5.0, 0.3), (10.0, 0.6)])
    monkeypatch.setattr(
        "benchmarks.speed.quality.curve_of_lists",
        lambda found, *_: curves[found["peer"]].pop(0),
    )
    monkeypatch.setattr("benchmarks.speed.quality.load_sequences", lambda _: None)
    monkeypatch.setattr(machine, "describe", dict)
    monkeypatch.setattr(Options, "prepare", lambda *_, **__: {})
    options = Options("sample", tmp_path, 2, 2, ["RecTools", "RePlay"], large=False)

    measured = measure_quality(options)

    assert ran == [
        ("turn 1 of 2: ", "RecTools 80"),
        ("turn 1 of 2: ", "RePlay 80"),
        ("turn 2 of 2: ", "RePlay 80"),
    ]
    found = {(one.side, one.what): one.value for one in measured.figures}
    assert found["RePlay", "reached after"] == Spread(50.0, 40.0, 60.0)
    assert found["RecTools", "trained for"] == Spread(50.0, 50.0, 50.0)


def test_made_up_histories_are_windows_that_are_full() -> None:
    made = made_up(interactions=1000, items=50, length=9)
    assert set(np.diff(made.offsets)) == {10}
    assert (made.items.min(), made.items.max()) >= (1, 10)
    assert made.items.max() <= 50


@pytest.mark.slow
def test_models_of_a_small_log_are_timed(tmp_path: Path) -> None:
    log = "sample:users=200,items=80,interactions=4000,seed=3"
    run(ours("prepare", "prepare", log, str(tmp_path), "--models"))
    for name in ("sasrec", "network", "teacher", "student", "student_live"):
        found = run(ours(name, "epochs", str(tmp_path), name, "--epochs", "2"))
        assert all(seconds > 0 for seconds in found["epoch_seconds"]), name
    scored = run(
        ours("s", "epochs", str(tmp_path), "sasrec", "--epochs", "2", "--score-every", "1")
    )
    assert [epoch for epoch, _ in scored["ndcg@10"]] == [1, 2]
    for name in ("teacher", "student", "float32", "int8", "pruned-int8"):
        assert rate(run(ours(name, "lists", str(tmp_path), name))) > 0
    assert json.loads((tmp_path / "cache" / "manifest.json").read_text())["kind"]


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["float32", "int8"])
def test_lists_are_made_from_a_catalogue_of_a_size(tmp_path: Path, weights: str) -> None:
    asked = (str(tmp_path), "--items", "3000", "--weights", weights)
    found = run(ours("catalogue", "catalogue", *asked))
    assert found["users_per_second"] > 0
    assert found["batch1_p95_ms"] >= found["batch1_p50_ms"] > 0
    width = found["flop_per_user"] / 2 / 3000
    assert found["table_bytes"] == 3000 * width * (4 if weights == "float32" else 1)
