"""Memory that a training frees stays with the process, for the next step's tensors."""

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's mallopt(3)."""
_LARGEST, _KEPT = 2**25, 2**30
"""Bytes of the largest block that is taken from the heap, as glibc comes to choose by itself, and of
the free end of the heap that is kept."""


def keep_freed_memory() -> bool:
    """Ask the C library not to give freed memory back; says whether it can be asked.

    A training frees tensors of megabytes in every step and asks for the same again. Given back each
    time, their pages are mapped and zeroed anew, which took a fifth of a step's time with 12,000 items.
    The process then keeps about what it held at its peak, as long as it lives.
    """
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):  # another C library than glibc
        return False
    # Both: asking for one switches off what adapts them.
    asked = (library.mallopt(_MMAP_THRESHOLD, _LARGEST), library.mallopt(_TRIM_THRESHOLD, _KEPT))
    return all(asked)
