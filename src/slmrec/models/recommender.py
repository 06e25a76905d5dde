"""Recommendations by item id from a servable, without torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from slmrec.artifacts import open_artifact
from slmrec.errors import ArtifactError
from slmrec.models.scorer import History
from slmrec.models.servable import KIND, Servable
from slmrec.signing import read_public_key, verify


@dataclass(frozen=True)
class Recommended:
    """One item of a list."""

    item_id: str
    score: float
    """Comparable within one list only."""


class Recommender:
    """Answers with item ids. Safe to call from several threads.

    A person of whom no item is known is given what was most often touched in the log.
    """

    def __init__(self, servable: Servable) -> None:
        self._servable = servable
        self._index = {item_id: n for n, item_id in enumerate(servable.item_ids) if n}

    @classmethod
    def open(
        cls, directory: Path | str, threads: int = 0, *, public_key: str = ""
    ) -> "Recommender":
        """Open a servable artifact; `threads` 0: as many as this process may use.

        With a `public_key`, a path or PEM text, its signature has to be beside it, as in a registry:
        `model.sig` beside `model`. Raises `ArtifactError` when it is not whole, of another version, or
        not signed with that key.
        """
        model = open_artifact(directory, KIND)
        if public_key:
            signature = model.path.with_name(f"{model.path.name}.sig")
            if not signature.is_file():
                raise ArtifactError(f"{signature}: missing; have the model signed: registry sign")
            verify(model, signature.read_bytes(), read_public_key(public_key))
        return cls(Servable(model, threads))

    def recommend(
        self, histories: Sequence[Sequence[str]], k: int = 10, *, exclude_seen: bool = True
    ) -> list[list[Recommended]]:
        """The `k` best items after each history of item ids, oldest first; fewer where none are left.

        Ids that the model does not know are passed over: it never saw them. Raises `ValueError` when
        `k` is not positive.
        """
        if k < 1:
            raise ValueError(f"k is {k}, expected at least 1")
        known = [self.known(history) for history in histories]
        asked = [history for history in known if len(history)]
        items, scores = self._servable.best(asked, k, exclude_seen=exclude_seen)
        found = iter(zip(items.tolist(), scores.tolist(), strict=True))
        return [
            self._listed(*next(found)) if len(history) else self._most_popular(k)
            for history in known
        ]

    def known(self, history: Sequence[str]) -> History:
        """The items of a history that the model knows, by index, in their order."""
        places = [self._index[item_id] for item_id in history if item_id in self._index]
        return np.asarray(places, dtype=np.int32)

    def _listed(self, items: list[int], scores: list[float]) -> list[Recommended]:
        ids = self._servable.item_ids
        pairs = zip(items, scores, strict=True)
        return [Recommended(ids[item], score) for item, score in pairs if item]

    def _most_popular(self, k: int) -> list[Recommended]:
        items, counts = self._servable.most_popular(k)
        return self._listed(items.tolist(), counts.tolist())
