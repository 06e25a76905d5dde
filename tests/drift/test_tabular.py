import json
import os

import numpy as np
import pytest

from slmrec.drift.windows import timeline, window_until


@pytest.fixture(scope="module")
def tabular():
    os.environ["DO_NOT_TRACK"] = "1"
    from slmrec.drift import tabular

    return tabular


def test_reports_have_the_same_bytes_when_written_twice(tabular, make_log, tmp_path):
    log = timeline(make_log(1), seed=1)
    current = window_until(log, len(log.items), 200)
    reference = window_until(log, current.start, 200)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        tabular.write_evidently(log, reference, current, 100, 7, tmp_path / name)
    for name in ("evidently.json", "evidently.html"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    content = json.loads((tmp_path / "one" / "evidently.json").read_text())
    columns = {metric["config"].get("column") for metric in content["metrics"]} - {None}
    assert columns == set(tabular.FEATURES)


def test_features_are_hand_arithmetic_when_the_window_is_tiny(tabular, make_sequences_from_events):
    hour, day = 3600, 86_400
    # Day 4 after 1970-01-01, a Thursday, is a Monday.
    events = [(0, 0, 2), (0, 1, 2), (1, 4 * day, 1), (0, 4 * day + 5 * hour, 2)]
    events.append((1, 5 * day, 2))
    log = timeline(make_sequences_from_events(events, 2), seed=0)
    window = window_until(log, 5, 2)
    ranks = np.array([9, 2, 1])  # of padding, item 1, item 2
    table = tabular._features(window, ranks, 10, np.random.default_rng(0))
    # User 0 on Monday at 5, user 1 on Tuesday at 0; each once in the window.
    assert table.to_numpy().tolist() == [
        [1, 0, 1, 5, 0],
        [1, pytest.approx(np.log1p(19 * hour)), 1, 0, 1],
    ]
