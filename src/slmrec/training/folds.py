"""Parts of the users, so that a network can be asked about users that it was not trained on."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from slmrec.columns import UserIndex
from slmrec.data.histories import id_digests
from slmrec.data.ordering import scrambled
from slmrec.data.sequences import Sequences


def digests_of_users(sequences: Sequences) -> NDArray[np.uint64]:
    """A number for each user that hangs on the id alone, so it stays when others come or go.

    Sequences that are not an artifact have no ids; their users' indices are the numbers.
    """
    if sequences.artifact is None:
        return np.arange(sequences.users, dtype=np.uint64)
    return id_digests(sequences.user_table[UserIndex.USER])


def fold_of_users(sequences: Sequences, folds: int) -> NDArray[np.int64]:
    """The fold of each user, 0 … folds - 1; all sessions of a user are in one."""
    # Digests are dealt out to shards of the cache by their remainder, too: scrambled once more, a
    # shard holds users of every fold.
    return (scrambled(digests_of_users(sequences)) % np.uint64(folds)).astype(np.int64)


def without_fold(sequences: Sequences, folds: int, fold: int) -> Sequences:
    """The same sequences, the users of one fold without training interactions."""
    left_out = fold_of_users(sequences, folds) == fold
    start = np.asarray(sequences.offsets[:-1])
    return replace(sequences, train_end=np.where(left_out, start, sequences.train_end))
