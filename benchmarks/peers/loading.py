"""How long a peer's own way takes from a log to what its SASRec trains on.

    python benchmarks/peers/loading.py PEER LOG

LOG is Parquet: `user_id`, `item_id`, `timestamp`. It runs inside the peer's environment. Each stops
where its training loop would begin: ids are numbers, histories are in order, and rows of at most 50
items can be drawn. RecBole reads a text file of its own kind, which is written before the clock
starts. The last line printed is one JSON object.
"""

import argparse
import json
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import protocol

LENGTH = 50
USER, ITEM, TIME = "user_id", "item_id", "timestamp"


def rectools(log: Path) -> float:
    """`Dataset.construct`, and what `SASRecModel.fit` does before it trains."""
    from rectools import Columns
    from rectools.dataset import Dataset
    from rectools.models.nn.transformers.sasrec import SASRecDataPreparator

    started = time.perf_counter()
    frame = pd.read_parquet(log, columns=[USER, ITEM, TIME])
    dataset = Dataset.construct(
        pd.DataFrame(
            {
                Columns.User: frame[USER],
                Columns.Item: frame[ITEM],
                Columns.Weight: 1.0,
                Columns.Datetime: pd.to_datetime(frame[TIME], unit="s"),
            }
        )
    )
    preparator = SASRecDataPreparator(LENGTH, batch_size=128, dataloader_num_workers=0)
    preparator.process_dataset_train(dataset)
    preparator.get_dataloader_train()
    return time.perf_counter() - started


def recbole(log: Path) -> float:
    """`create_dataset` and `data_preparation`, which makes a sample of every position."""
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.chdir(folder)  # it writes logs to where it runs
        (folder / "log").mkdir()
        columns = {USER: f"{USER}:token", ITEM: f"{ITEM}:token", TIME: f"{TIME}:float"}
        frame = pd.read_parquet(log, columns=[USER, ITEM, TIME]).rename(columns=columns)
        frame.to_csv(folder / "log" / "log.inter", sep="\t", index=False)
        del frame
        settings = {
            "data_path": str(folder),
            "load_col": {"inter": [USER, ITEM, TIME]},
            "eval_args": {
                "split": {"RS": [1.0, 0.0, 0.0]},
                "order": "TO",
                "group_by": "user",
                "mode": "full",
            },
            "MAX_ITEM_LIST_LENGTH": LENGTH,
            "train_neg_sample_args": None,
            "use_gpu": False,
            "show_progress": False,
            "state": "WARNING",
        }
        config = Config(model="SASRec", dataset="log", config_dict=settings)
        started = time.perf_counter()
        data_preparation(config, create_dataset(config))
        return time.perf_counter() - started


def replay(log: Path) -> float:
    """`Dataset` and `SequenceTokenizer`, as its own example of SASRec has them."""
    from replay.data import (
        Dataset,
        FeatureHint,
        FeatureInfo,
        FeatureSchema,
        FeatureSource,
        FeatureType,
    )
    from replay.data.nn import (
        SequenceTokenizer,
        TensorFeatureInfo,
        TensorFeatureSource,
        TensorSchema,
    )

    source = TensorFeatureSource(FeatureSource.INTERACTIONS, ITEM)
    wanted = TensorFeatureInfo(
        ITEM,
        feature_type=FeatureType.CATEGORICAL,
        is_seq=True,
        feature_hint=FeatureHint.ITEM_ID,
        feature_sources=[source],
        padding_value=0,
    )
    columns = [
        FeatureInfo(USER, FeatureType.CATEGORICAL, FeatureHint.QUERY_ID),
        FeatureInfo(ITEM, FeatureType.CATEGORICAL, FeatureHint.ITEM_ID),
        FeatureInfo(TIME, FeatureType.NUMERICAL, FeatureHint.TIMESTAMP),
    ]
    started = time.perf_counter()
    frame = pd.read_parquet(log, columns=[USER, ITEM, TIME])
    dataset = Dataset(FeatureSchema(columns), interactions=frame)
    tokenizer = SequenceTokenizer(TensorSchema([wanted]), allow_collect_to_master=True)
    tokenizer.fit_transform(dataset)
    return time.perf_counter() - started


LOADERS: dict[str, tuple[Callable[[Path], float], list[str]]] = {
    "rectools": (rectools, ["rectools", "pandas"]),
    "recbole": (recbole, ["recbole", "pandas"]),
    "replay": (replay, ["replay-rec", "pandas"]),
}


def main() -> None:
    """Load once and print."""
    asked = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    asked.add_argument("peer", choices=LOADERS)
    asked.add_argument("log", type=Path)
    chosen = asked.parse_args()
    warnings.filterwarnings("ignore")
    load, packages = LOADERS[chosen.peer]
    seconds = load(chosen.log.resolve())
    told = {
        "seconds": seconds,
        "peak_rss_mb": protocol.peak_mb(),
        "versions": {name: version(name) for name in packages},
    }
    print(f"\n{json.dumps(told)}", flush=True)


if __name__ == "__main__":
    main()
