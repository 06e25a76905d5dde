"""Texts that somebody else has written, as they may be shown: no more than can be read.

Item titles, ids and file names reach terminals, logs and pages. A control character there moves a
cursor or forges a line, and a mark of direction turns round what follows it.
"""

import json
from typing import Any
from unicodedata import category

_JOINERS = "\u200c\u200d"
"""Without which words of some scripts and many emoji fall apart."""
_INSTEAD = "\ufffd"
_HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")


def visible(text: str, keep: str = "\n\t") -> str:
    """The text with a replacement character for each that cannot be seen, those in `keep` aside."""
    return text.translate(dict.fromkeys(map(ord, hidden(text, keep)), _INSTEAD))


def hidden(text: str, keep: str = "\n\t") -> set[str]:
    """The letters of a text that cannot be seen, those in `keep` aside."""
    if text.isprintable():
        return set()
    return {letter for letter in text if category(letter) in _HIDDEN} - {*keep, *_JOINERS}


def shown(value: Any) -> Any:
    """For `finalize` of a template: texts as `visible` makes them, all else as it is."""
    return visible(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def visible_json(content: Any, **options: Any) -> str:
    """JSON, with its own escapes for what cannot be seen, so that every value stays what it is."""
    text = json.dumps(content, ensure_ascii=False, **options)
    return text.translate({ord(letter): json.dumps(letter)[1:-1] for letter in hidden(text)})
