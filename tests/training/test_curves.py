from pathlib import Path

from slmrec.training.curves import draw_curves

HISTORY = [
    {"epoch": 1.0, "ce": 4.0, "cosine": 0.5},
    {"epoch": 2.0, "ce": 3.0, "cosine": 0.4, "ndcg@10": 0.2},
]


def test_curves_are_the_same_bytes_when_the_history_is_the_same(tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg"):
        draw_curves(HISTORY, "student", tmp_path / name)
    text = (tmp_path / "a.svg").read_bytes()
    assert text == (tmp_path / "b.svg").read_bytes()
    assert text.startswith(b"<?xml")
    draw_curves([{**HISTORY[0], "ce": 9.0}, HISTORY[1]], "student", tmp_path / "c.svg")
    assert (tmp_path / "c.svg").read_bytes() != text


def test_curves_are_drawn_when_nothing_was_validated_yet(tmp_path: Path) -> None:
    draw_curves(HISTORY[:1], "teacher", tmp_path / "a.svg")
    assert (tmp_path / "a.svg").stat().st_size > 1000
