"""Pages from templates; every value is escaped, whoever wrote it."""

import math
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from slmrec.visible import shown

TEMPLATES = Environment(
    loader=PackageLoader("slmrec.dashboard", "templates"),
    autoescape=True,
    finalize=shown,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    cache_size=-1,
    auto_reload=False,
)
SECTIONS = (
    ("Overview", ()),
    ("Drift", ("drift",)),
    ("Models", ("models",)),
    ("Data", ("data",)),
    ("Runs", ("runs",)),
    ("Decisions", ("decisions",)),
)
NOTHING = "–"


@dataclass(frozen=True)
class Page:
    """What one page shows, before it is HTML."""

    title: str
    section: str
    template: str
    data: Mapping[str, Any]
    """What its twin under `/api` holds."""
    figures: Mapping[str, str] = field(default_factory=dict)
    """SVG texts by name; a browser shows them as images, in which nothing runs."""


@dataclass(frozen=True)
class Frame:
    """Where and for whom a page is rendered."""

    link: Callable[..., str]
    """The address of a page from the segments of its path."""
    asset: Callable[[str], str]
    interactive: bool
    """Whether there is a server that takes forms."""
    form_token: str = ""
    actor: str = ""
    can_log_out: bool = False


def render(page: Page, frame: Frame) -> str:
    """The HTML of a page."""
    html: str = TEMPLATES.get_template(page.template).render(
        page=page, frame=frame, link=frame.link, sections=SECTIONS, images=page.figures, **page.data
    )
    return html


def online(form_token: str, actor: str, *, can_log_out: bool = False) -> Frame:
    """A page as the server gives it."""
    return Frame(
        link=lambda *path: "/" + "/".join(map(str, path)),
        asset=lambda name: f"/static/{name}",
        interactive=True,
        form_token=form_token,
        actor=actor,
        can_log_out=can_log_out,
    )


def _day(seconds: float | None) -> str:
    try:
        return NOTHING if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"
    except (ValueError, OverflowError, OSError):
        return NOTHING


def _moment(text: str | None) -> str:
    try:
        found = datetime.fromisoformat(text or "")
        return f"{found.astimezone(UTC) if found.tzinfo else found:%Y-%m-%d %H:%M}"
    except (ValueError, OverflowError):
        return text or NOTHING


def _ago(seconds: float | None) -> str:
    if seconds is None:
        return NOTHING
    if seconds < 0:
        return "in the future"
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit} ago"
    return "a moment ago"


def _number(value: float | None, form: str = ".4g") -> str:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        return NOTHING
    return format(value, form)


def _long(seconds: float | None) -> str:
    if seconds is None:
        return NOTHING
    if seconds >= 120:
        return f"{seconds / 60:.1f} min"
    return f"{seconds:.1f} s" if seconds >= 0.1 else f"{seconds * 1000:.0f} ms"


def _size(count: int | None) -> str:
    if count is None:
        return NOTHING
    return f"{count / 1e6:,.2f} MB" if count >= 100_000 else f"{count / 1e3:,.1f} kB"


def _label(name: str) -> str:
    words = str(name).replace("_", " ").strip()
    return words[:1].upper() + words[1:]


def _image(svg: str) -> str:
    return f"data:image/svg+xml;base64,{b64encode(svg.encode()).decode()}"


def _words(text: str) -> str:
    """What an SVG may hold: XML knows no control characters, and one would break the whole image."""
    return "".join(letter for letter in str(text) if letter.isprintable())


TEMPLATES.filters |= {
    "words": _words,
    "day": _day,
    "moment": _moment,
    "ago": _ago,
    "number": _number,
    "count": lambda value: _number(value, ",.0f"),
    "percent": lambda value: _number(value, ".1%"),
    "long": _long,
    "size": _size,
    "label": _label,
    "image": _image,
    "brief": lambda digest: str(digest or NOTHING)[:12],
    "orelse": lambda value: NOTHING if value is None or value == "" else value,
}
TEMPLATES.tests |= {"scalar": lambda value: not isinstance(value, dict | list)}
