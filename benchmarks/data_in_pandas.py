"""The work of ingest, validation and sequences as one would write it in pandas: the peer.

Reads a Parquet log, judges every row, looks for duplicates, checks what the shipped suites check,
and builds the same sequences with the default settings. Straightforward, vectorised pandas; no
loop over rows.
"""

from pathlib import Path

import numpy as np
import pandas as pd

EARLIEST, LATEST = 0, 4_102_444_800
LEAST = 5
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
    """Check what the validation step checks."""
    assert log[["user_id", "item_id", "timestamp"]].notna().all().all()
    assert log["user_id"].str.len().between(1, 256).all()
    assert log["item_id"].str.len().between(1, 256).all()
    assert log["timestamp"].between(EARLIEST, LATEST).all()
    assert log["rating"].dropna().between(-1000, 1000).all()
    assert log["user_id"].nunique() >= 2
    assert log["item_id"].nunique() >= 2
    assert log["timestamp"].nunique() >= 3
    step = log.groupby("user_id", sort=False)["timestamp"].diff()
    assert not (step < 0).any()
    print("equal times", float(log.duplicated(["user_id", "timestamp"], keep=False).mean()))
    burst = log["timestamp"] - log.groupby("user_id", sort=False)["timestamp"].shift(100)
    print("robots", log.loc[burst < 60, "user_id"].nunique())


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
