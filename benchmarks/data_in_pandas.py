"""The work of ingest, validation and sequences as one would write it in pandas: the peer.

Reads a Parquet log, judges every row, looks for duplicates, evaluates the shipped suite with Great
Expectations' own pandas engine, checks histories, builds the same sequences with the default
settings, checks them, draws the card's figure and hashes what it wrote. Straightforward, vectorised
pandas (its Arrow-backed text where that is installed); no loop over rows.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd

EARLIEST, LATEST = 0, 4_102_444_800
LEAST = 5
SUITE = Path(__file__).resolve().parents[1] / "validation" / "expectations" / "interactions.json"
VALIDATION_SHARE, TEST_SHARE = 0.03, 0.1


def judged(log: pd.DataFrame) -> pd.Series:
    """Give the reason against each row, empty where it is sound."""
    reason = pd.Series("", index=log.index)
    rules = []
    for name in ("user_id", "item_id"):
        text = log[name].str.strip(" \t\r")
        rules += [
            (f"missing {name}", text.isna() | (text == "")),
            (f"{name} is not UTF-8", text.str.contains("\ufffd", regex=False)),
            (f"{name} has control characters", text.str.contains(r"[\x00-\x1f\x7f-\x9f]")),
            (f"over-long {name}", text.str.len() > 256),
        ]
    rules += [
        ("missing time", log["timestamp"].isna()),
        ("early", log["timestamp"] < EARLIEST),
        ("late", log["timestamp"] > LATEST),
        ("unparsable rating", log["rating"].notna() & ~np.isfinite(log["rating"])),
        ("duplicate", log.duplicated(["user_id", "item_id", "timestamp", "rating"])),
    ]
    for name, broken in rules:
        reason = reason.mask((reason == "") & broken.fillna(False).astype(bool), name)
    return reason


def checked(log: pd.DataFrame) -> None:
    """Check what the validation step checks: the shipped suite, and what lies between rows."""
    import great_expectations as gx
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    batch = context.data_sources.add_pandas("log").add_dataframe_asset("log")
    content = json.loads(SUITE.read_text())
    expectations = [
        ExpectationConfiguration(type=one["type"], kwargs=one["kwargs"]).to_domain_obj()
        for one in content["expectations"]
    ]
    suite = gx.ExpectationSuite(name=content["name"], expectations=expectations)
    definition = batch.add_batch_definition_whole_dataframe("all")
    outcome = definition.get_batch(batch_parameters={"dataframe": log}).validate(suite)
    assert outcome.success
    assert log["user_id"].nunique() >= 2
    assert log["item_id"].nunique() >= 2
    assert log["timestamp"].nunique() >= 3
    step = log.groupby("user_id", sort=False)["timestamp"].diff()
    assert not (step < 0).any()
    print("equal times", float(log.duplicated(["user_id", "timestamp"], keep=False).mean()))
    burst = log["timestamp"] - log.groupby("user_id", sort=False)["timestamp"].shift(100)
    print("robots", log.loc[burst < 60, "user_id"].nunique())


def described(log: pd.DataFrame) -> dict[str, object]:
    """Count the repeats and ties that the data card tells, before deduplication."""
    again = log.groupby(["user_id", "item_id"], sort=False)["timestamp"].diff().dropna()
    gaps = pd.cut(again, [-1, 59, 3_599, 86_399, 604_799, 2_591_999, 31_535_999, np.inf])
    ties = log.groupby(["user_id", "timestamp"], sort=False).size()
    return {
        "repeats": gaps.value_counts(sort=False).tolist(),
        "ties": pd.cut(ties, [0, 1, 2, 3, 7, 15, 31, 63, np.inf]).value_counts().tolist(),
    }


def audited(log: pd.DataFrame, times: np.ndarray, cuts: list[int]) -> None:
    """Check the sequences: the k-core, the order inside histories, and the splits."""
    assert log.groupby("user_id").size().min() >= LEAST
    assert log.groupby("item_id").size().min() >= LEAST
    assert not (log.groupby("user_id")["timestamp"].diff() < 0).any()
    spans = [times[times < cuts[0]], times[(times >= cuts[0]) & (times < cuts[1])]]
    assert spans[0].max() < spans[1].min()
    assert spans[1].max() < times[times >= cuts[1]].min()


def drawn(log: pd.DataFrame, card: dict[str, object], path: Path) -> None:
    """Draw the five panels of the data card."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 3, figsize=(11, 6.2), layout="constrained")
    axes[0, 0].hist(log["timestamp"], bins=52)
    axes[0, 1].loglog(log["item_id"].value_counts().to_numpy())
    axes[0, 2].hist(log.groupby("user_id").size(), bins=16)
    axes[1, 0].bar(range(len(card["repeats"])), card["repeats"])
    axes[1, 1].bar(range(len(card["ties"])), card["ties"])
    figure.savefig(path)


def main(source: str, folder: str) -> None:
    """Build sequences from `source` into `folder`."""
    home = Path(folder)
    log = pd.read_parquet(source)
    reason = judged(log)
    log[reason != ""].to_parquet(home / "quarantine.parquet")
    log = log[reason == ""]
    log = log.sort_values(["user_id", "timestamp"], kind="stable", ignore_index=True)
    log.to_parquet(home / "log.parquet")
    checked(log)
    card = described(log)
    log = log.drop_duplicates(["user_id", "item_id"])
    while True:
        size = len(log)
        log = log[log.groupby("user_id")["user_id"].transform("size") >= LEAST]
        log = log[log.groupby("item_id")["item_id"].transform("size") >= LEAST]
        if len(log) == size:
            break
    users, user_ids = pd.factorize(log["user_id"], sort=True)
    items, item_ids = pd.factorize(log["item_id"], sort=True)
    times = log["timestamp"].to_numpy()
    offsets = np.concatenate([[0], np.bincount(users).cumsum()])
    ordered = np.sort(times)
    places = [1 - VALIDATION_SHARE - TEST_SHARE, 1 - TEST_SHARE]
    cuts = [ordered[int(np.floor(round(place * len(log), 6)))] for place in places]
    before = [np.bincount(users[times < cut], minlength=len(user_ids)) for cut in cuts]
    np.save(home / "offsets.npy", offsets.astype(np.int64))
    np.save(home / "items.npy", (items + 1).astype(np.int32))
    np.save(home / "timestamps.npy", times)
    np.save(home / "train_end.npy", offsets[:-1] + before[0])
    np.save(home / "validation_end.npy", offsets[:-1] + before[1])
    seen = log.groupby("item_id")["timestamp"].agg(["size", "min"])
    trained = log.loc[times < cuts[0], "item_id"].unique()
    print("cold items", int((~seen.index.isin(trained)).sum()))
    pd.DataFrame({"user_id": user_ids}).to_parquet(home / "users.parquet")
    pd.DataFrame({"item_id": item_ids}).to_parquet(home / "items.parquet")
    audited(log, times, cuts)
    drawn(log, card, home / "history.svg")
    (home / "card.json").write_text(json.dumps(card))
    for path in [Path(source), *sorted(home.iterdir())]:
        with path.open("rb") as stream:
            print(path.name, hashlib.file_digest(stream, "sha256").hexdigest())
