"""How people read times, which are whole seconds since 1970: in UTC, in the form of ISO 8601.

NumPy's calendar has no last year, where that of `datetime` ends with 9999.
"""

import numpy as np


def day(seconds: int) -> str:
    """The day."""
    return str(np.datetime64(int(seconds), "s").astype("datetime64[D]"))


def moment(seconds: int) -> str:
    """The day and the second of it."""
    return f"{np.datetime64(int(seconds), 's')}Z"
