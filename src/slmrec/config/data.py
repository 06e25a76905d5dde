"""How the log is read, checked, made into histories and watched."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from slmrec.config.section import Positive, Rate, Section, Seed, Share

Format = Literal[
    "auto",
    "csv",
    "tsv",
    "parquet",
    "jsonl",
    "movielens",
    "amazon-2014",
    "amazon-2018",
    "recbole",
    "sequences-txt",
]


class ColumnNames(Section):
    """What the source calls its columns; empty means: recognise the usual names."""

    user: str = ""
    """Who: text or a number, different for each user."""
    item: str = ""
    """What was touched; in a table of items, whose title and category the row holds."""
    timestamp: str = ""
    """When: seconds or fractions of them since 1970, or a date with or without a time."""
    rating: str = ""
    """How much it was liked: a number; a row with something else goes to the quarantine."""
    title: str = ""
    """In a table of items: what people call the item."""
    category: str = ""
    """In a table of items: what kind of item it is; several are separated by `|`."""


class IngestInteractions(Section):
    """How raw files become the canonical log."""

    format: Format = "auto"
    """Reader; `auto` recognises it from the file name and first line and prints what it assumed."""
    columns: ColumnNames = ColumnNames()
    """Column mapping for `csv`, `tsv`, `jsonl` and `parquet`."""
    ties: Literal["content", "source"] = "content"
    """Order of a user's interactions at one moment: `content` shuffles them by a digest of item and
    time, the same for any order of the rows; `source` trusts the order of the file."""
    max_id_length: Positive = 256
    """Characters; a longer user or item id goes to the quarantine."""
    earliest: int = 0
    """Seconds since 1970; an interaction before it goes to the quarantine."""
    latest: int = 4102444800
    """Seconds since 1970 (default 2100-01-01); an interaction after it goes to the quarantine."""
    max_growth: Positive = 100
    """How many times its size a packed or Parquet file may become, beyond the first 16 MB: more is no
    log (those pack 3 to 30 times) but made to fill disk and memory."""
    max_line_bytes: Positive = 1024 * 1024
    """Length of a line of text; a file with a longer one is refused, for it is no table of rows."""
    min_rating: float | None = None
    """Interactions rated below are filtered (the SLMRec paper uses 3); null keeps all."""


class ValidateData(Section):
    """What the canonical log must satisfy."""

    suites: tuple[str, ...] = ("interactions", "items")
    """Great Expectations suites, files `validation/expectations/<name>.json`."""
    max_quarantine_share: Share = 0.05
    """Largest share of source rows that may sit in the quarantine."""
    max_equal_time_share: Share = 1.0
    """Largest share of interactions that may share user and moment with another: their order is not
    time's. 1 allows all, since many public logs have one time a visit; above 0.5 a run says so."""
    robot_events: Positive = 100
    """Interactions of one user within `robot_seconds` that no person makes."""
    robot_seconds: Positive = 60
    """Length of the window for `robot_events`, seconds."""
    max_robot_share: Share = 0.05
    """Largest share of interactions that may belong to users who look like robots."""
    min_volume_ratio: Annotated[float, Field(ge=0)] = 0.5
    """Interactions now over interactions behind the production model: fewer fails the log."""
    max_volume_ratio: Annotated[float, Field(gt=0)] = 20.0
    """The same ratio: more fails the log."""
    min_catalogue_kept: Share = 0.5
    """Least share of the production model's items that the log still has."""


class BuildSequences(Section):
    """How the log becomes histories, and where the past ends."""

    split: Literal["global_time", "leave_one_out"] = "global_time"
    """`global_time`: nothing after a moment is seen in training. `leave_one_out`: each user's last
    two items are held out, as in published benchmarks; it lets training see the future of others."""
    min_user_interactions: Positive = 5
    """k-core, users: fewer interactions and the user is filtered, iterated to the fixed point."""
    min_item_interactions: Positive = 5
    """k-core, items."""
    deduplicate: Literal["first", "exact", "none"] = "first"
    """`first` keeps a user's first interaction with an item, `exact` drops equal (user, item, time)."""
    max_history: Annotated[int, Field(ge=3)] | None = None
    """Only the last so many interactions of a user (after `deduplicate`, before the k-core); null
    keeps all."""
    session_minutes: Annotated[float, Field(gt=0)] | None = None
    """A longer pause begins a new session, and each session becomes a history of its own; null keeps
    a user's history whole."""
    validation_share: Rate = 0.03
    """`global_time`: share of interactions, by time, between the training and the test cut. What lies
    there is not trained on, so a large share makes every model stale."""
    test_share: Rate = 0.1
    """`global_time`: share of interactions, by time, after the test cut."""

    @model_validator(mode="after")
    def _shares_leave_training_data(self) -> Self:
        if self.validation_share + self.test_share >= 0.9:
            raise ValueError(
                f"validation_share + test_share is {self.validation_share + self.test_share:.2f}, "
                "expected below 0.9 so that training data remain"
            )
        return self


class MonitorDrift(Section):
    """How the newest window is compared with the past."""

    window_share: Rate = 0.1
    """Share of the log's interactions, by time, in the current window."""
    history_windows: Positive = 6
    """Earlier windows of the same size, compared one with the next, for the history plot."""
    min_users: Positive = 200
    """Users a window needs; with fewer the verdict is `not enough data`."""
    max_users: Positive = 5000
    """Users sampled from each side, to bound time and memory."""
    asked_users: Positive = 2000
    """Users of each side of whom production is asked: states, lists, what they did next."""
    permutations: Positive = 1999
    """Label permutations for each p-value: p = (k + 1) / (permutations + 1)."""
    false_discovery_rate: Rate = 0.05
    """Benjamini-Hochberg level across all statistics of a window; `drift` takes two windows."""
    recommendations: str = ""
    """Lists that people were given, a file of `recommend` (a path or a `gs://` URI): how much of them
    production would list today is told. Empty: nobody was given any."""
    evidently_rows: Positive = 5000
    """Rows of each side in the Evidently report."""
    seed: Seed = 17
    """Of permutations, and of which users are looked at."""


class DecideRetraining(Section):
    """When a run has a reason to train."""

    min_new_share: Share = 0.05
    """Interactions newer than the production model's data, as a share of those it saw."""
    on_drift: bool = True
    """Train when the drift verdict is `drift`."""
    on_code_change: bool = True
    """Train when the code digest differs from the production model's."""
