"""Loops that are compiled by Numba at their first call (docs/decisions/0017).

The machine code is kept beside the module that has the loop, or in the user's cache folder, where
there is one that may be written to.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import numba

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Decorate a function of arrays and numbers; while it runs, other threads of Python may."""
    options = {"nogil": True, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no folder to keep it in may be written to
        return numba.njit(**options)(function)
