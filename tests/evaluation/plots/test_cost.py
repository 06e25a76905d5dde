from slmrec.evaluation.plots.cost import pareto_front


def test_the_front_holds_what_nothing_beats_at_no_more_cost() -> None:
    points = [(3.0, 0.9), (1.0, 0.5), (2.0, 0.5), (2.0, 0.7), (4.0, 0.8), (1.0, 0.4)]
    assert pareto_front(points) == [(1.0, 0.5), (2.0, 0.7), (3.0, 0.9)]
    assert pareto_front([]) == []
