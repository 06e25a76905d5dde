import pytest

from slmrec.evaluation.plots.training import blocks_svg, curves_svg
from slmrec.evaluation.trainings import Block, Curve

VALIDATED = [{"epoch": 1.0, "ce": 3.0, "ndcg@10": 0.1}, {"epoch": 2.0, "ce": 2.0, "ndcg@10": 0.3}]
ONE = [{"epoch": 1.0, "ce": 3.0, "ndcg@10": 0.0}]


@pytest.mark.parametrize(
    "curves",
    [
        [Curve("sasrec", VALIDATED, 0.3), Curve("teacher", VALIDATED, 0.3)],
        [Curve("student", ONE, 0.0)],  # nothing was hit, once
    ],
)
def test_curves_are_drawn_alike_twice_for_any_number_of_models(curves):
    drawn = curves_svg(curves)
    assert drawn == curves_svg(curves)
    assert drawn.rstrip().endswith("</svg>")
    assert drawn.count('id="axes_') == 2 * len(curves)
    assert "prefers-color-scheme:dark" in drawn


@pytest.mark.parametrize(
    "blocks",
    [
        [Block(1, 0.9, 4.5)],
        [Block(number, -0.25 * number, 0.0) for number in range(1, 5)],
    ],
)
def test_blocks_are_drawn_alike_twice_whatever_their_direction(blocks):
    assert blocks_svg(blocks) == blocks_svg(blocks)
    assert blocks_svg(blocks).rstrip().endswith("</svg>")
