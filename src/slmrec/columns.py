"""Every column name, once."""


class Interactions:
    """The canonical interaction log, one row an event."""

    USER = "user_id"
    ITEM = "item_id"
    TIME = "timestamp"  # int64, seconds since 1970-01-01 UTC
    RATING = "rating"  # float32, null where the source has none
    ROW = "row"  # int64, position in the source: rows counted from 1, files in order of name


class Batch:
    """What a reader gives of a file, a row a source row: text or numbers, nothing judged.

    The other columns are `Interactions` USER, ITEM, TIME and RATING.
    """

    LINE = "line"
    MALFORMED = "malformed"  # why the line is no row; null where it is one
    RAW = "raw"  # the line as read where it is malformed, else null


class Items:
    """What the source says about its items."""

    ITEM = "item_id"
    TITLE = "title"
    CATEGORY = "category"


class Quarantine:
    """A source row that was set aside, and why."""

    FILE = "file"  # name within the source
    LINE = "line"  # int64, counted from 1 with the header; of Parquet, the row
    REASON = "reason"
    TEXT = "text"  # what was read, cut to a safe length


class ItemIndex:
    """The item side of the id map; index 0 is padding and has no row here."""

    INDEX = "item_index"
    ITEM = "item_id"
    TITLE = "title"
    CATEGORY = "category"
    COUNT = "count"
    FIRST_SEEN = "first_seen"
    COLD = "cold"  # first seen after the training cut


class UserIndex:
    """The user side of the id map."""

    INDEX = "user_index"
    USER = "user_id"
    COLD = "cold"  # no training interaction
    SESSION = "session"  # of the user, from 1; only where a history is a session


class Ranks:
    """One evaluated user: the rank of the true next item under each model (a column a model)."""

    USER_INDEX = "user_index"
    TARGET = "target"
    TARGET_COLD = "target_cold"
    NEGATIVES = (
        "negatives"  # int32 array, items that a target is ranked among; in a file of its own
    )


class Recommendations:
    """Lists that were made for people, a row a person."""

    USER = "user_id"
    ITEMS = "items"  # item ids, best first
    SCORES = (
        "scores"  # comparable within one list only; counts where no item of the person is known
    )
    KNOWN = "known_items"  # how many items of the history the model knows
    VERSION = "model_version"
    DIGEST = "model_digest"
