"""Titles, ids and names that are written to be obeyed instead of read."""

import re
from html.parser import HTMLParser

from tests.dashboard.homes import PAYLOADS

TERMINAL = (
    "\x1b[2J\x1b[Hwiped",
    "\x1b[31mred\x1b[0m",
    "\x1b]0;another title\x07",
    "\x1b]8;;http://evil.example\x1b\\a link\x1b]8;;\x1b\\",
    "\x1b]52;c;cm0gLXJmIH4=\x07",
    "\x1b[8mhidden\x1b[28m",
    "\x1bP+q544e\x1b\\",
    "\x9b31mC1\x9c",
    "\x90device\x9c",
    "\rdone in 1 s",
    "one\r\n✓ promote_model  0.1 s  promoted",
    "one\n✓ promote_model  0.1 s  promoted",
    "one\x0b\x0ctwo",
    "one\x85two\u2028three\u2029four",
    "\b\b\b\b\b\b\b\berased",
    "\x07bell",
    "nul\x00byte",
    "\u202e\u2066evil\u2069\u202c",
    "\u2067right\u2069\u200f\u200e\u061c",
    "zero\u200bwidth\u2060\ufeff",
    "\U000e0041\U000e0042tagged",
    "\ud800half",
    "\u202dover\u202c",
)
MARKUP = (
    "[bold]bold[/bold]",
    "[red on white]red",
    "[/]",
    "[link=http://evil.example]link[/link]",
    "[@click=app.bell()]click[/]",
    ":skull: [blink]x",
    "\\[bold]x",
    "| a | b |\n| --- | --- |",
    "`code` **bold** ![x](http://evil.example/x.png)",
    "[a](javascript:alert(1))",
    "# heading",
    "$x^2$ \\frac{1}{2} $",
    "%s %d %n {0} {name} {0.__class__}",
    "${jndi:ldap://evil.example/a}",
    "'; DROP TABLE users; --",
    '","surplus","field',
)
EVERY = (*PAYLOADS, *TERMINAL, *MARKUP)
OBEYED = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff"
    r"\U000e0000-\U000e007f]"
)
"""What a terminal or a browser would obey; line ends and tabs are looked for where they matter."""


class Elements(HTMLParser):
    """Tags and attributes as a browser would read them, and the text between them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.words: list[str] = []
        self.links: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attributes}
        self.links |= {
            value or "" for name, value in attributes if name in ("href", "src", "action")
        }

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def compare(hostile: str, plain: str) -> None:
    """Check that a page made of hostile texts has the elements of one that is made of plain ones."""
    found, known = Elements(hostile), Elements(plain)
    assert found.tags <= known.tags, found.tags - known.tags
    assert found.attributes <= known.attributes, found.attributes - known.attributes
    assert not any(link.startswith(("javascript:", "http")) for link in found.links)
    assert not OBEYED.search(hostile), OBEYED.search(hostile)
