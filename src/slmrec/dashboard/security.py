"""Who may look, who decides, and what a browser may do with a page."""

import hashlib
import hmac
import ipaddress
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field

from slmrec.errors import ConfigError

SESSION = "slmrec_session"
LIFETIME = 12 * 3600
"""Seconds that a login and a form are good for."""
SHORTEST_TOKEN = 16
LONGEST_NAME = 80
PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; frame-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
REPORT_POLICY = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
SCRIPTED_REPORT_POLICY = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'unsafe-inline'; img-src data: blob:; font-src data:; worker-src blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
"""Evidently's page needs its own scripts; they run in an origin of their own that reaches nothing."""
HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}


@dataclass(frozen=True)
class Access:
    """Who gets in, and how."""

    host: str = "127.0.0.1"
    """What the server listens on."""
    token: str = ""
    """What people show to get in; empty for none."""
    identity_header: str = ""
    """In which a proxy in front says who somebody is; empty for no such proxy."""
    actor: str = "unknown"
    """Who decides where nobody says who he is."""
    form_key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    def check(self) -> None:
        """Raise `ConfigError` where strangers could get in."""
        if self.token and self.identity_header:
            raise ConfigError(
                "dashboard: found both a token and --identity-header, expected one of them"
            )
        if self.token and len(self.token) < SHORTEST_TOKEN:
            raise ConfigError(
                f"dashboard: the token has {len(self.token)} characters, expected at least "
                f"{SHORTEST_TOKEN}; 'openssl rand -hex 16' gives one"
            )
        if not (self.loopback or self.token or self.identity_header):
            raise ConfigError(
                f"--host: found '{self.host}', which others can reach, and nothing that keeps them "
                "out; set SLMREC_DASHBOARD_TOKEN, or --identity-header where a proxy in front says "
                "who somebody is, or stay on 127.0.0.1"
            )

    @property
    def loopback(self) -> bool:
        """Whether only this machine reaches the server."""
        return is_loopback(self.host)

    def knows_host(self, header: str) -> bool:
        """Whether a request was meant for this server.

        A name that somebody else has pointed at this machine is none of ours: his page would
        otherwise read what is on loopback.
        """
        if not self.loopback:
            return True
        name = header.rpartition(":")[0] if header.rpartition(":")[2].isdecimal() else header
        return is_loopback(name.strip("[]"))

    def who(
        self, headers: Mapping[str, str], cookies: Mapping[str, str], now: float, *, api: bool
    ) -> str | None:
        """Who asks; None where that is not known and so nothing may be shown.

        Programs show the token itself, which opens the twins under `/api` and no page.
        """
        if self.identity_header:
            return clean_name(headers.get(self.identity_header.lower(), ""))
        if not self.token:
            return self.actor
        bearer = headers.get("authorization", "")
        if api and bearer.startswith("Bearer ") and self.opens(bearer.removeprefix("Bearer ")):
            return "a program"
        return self._session_name(cookies.get(SESSION, ""), now)

    def opens(self, token: str) -> bool:
        """Whether that is the token, in a time that tells nothing of it."""
        return bool(self.token) and hmac.compare_digest(
            hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest(),
            hashlib.sha256(self.token.encode("utf-8", "surrogatepass")).digest(),
        )

    def session(self, name: str, now: float) -> str:
        """A cookie that says who has shown the token."""
        body = f"{int(now) + LIFETIME}.{urlsafe_b64encode(name.encode()).decode()}"
        return f"{body}.{_sign(self._session_key, body)}"

    def form_token(self, actor: str, now: float) -> str:
        """What a form carries, so that no other site can submit one for this person."""
        body = str(int(now) + LIFETIME)
        return f"{body}.{_sign(self.form_key, f'{body}.{actor}')}"

    def form_is_ours(self, token: str, actor: str, now: float) -> bool:
        """Whether a form was made by this server, for this person, lately."""
        until, _, signature = token.partition(".")
        return _same(signature, _sign(self.form_key, f"{until}.{actor}")) and _ahead(until, now)

    def _session_name(self, cookie: str, now: float) -> str | None:
        body, _, signature = cookie.rpartition(".")
        if not _same(signature, _sign(self._session_key, body)):
            return None
        until, _, name = body.partition(".")
        try:
            return urlsafe_b64decode(name).decode() if _ahead(until, now) else None
        except ValueError:
            return None

    @property
    def _session_key(self) -> bytes:
        # Of the token, so that a session outlives a restart and ends when the token changes.
        return hmac.digest(self.token.encode("utf-8", "surrogatepass"), b"session", "sha256")


def clean_name(name: str) -> str | None:
    """A person's name as it may stand in the decision log; None where it may not."""
    name = " ".join(name.split())
    return name if name and len(name) <= LONGEST_NAME and name.isprintable() else None


def is_loopback(host: str) -> bool:
    """Whether an address or name means this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _sign(key: bytes, text: str) -> str:
    return hmac.digest(key, text.encode("utf-8", "surrogatepass"), "sha256").hex()


def _same(a: str, b: str) -> bool:
    return hmac.compare_digest(a.encode("utf-8", "surrogatepass"), b.encode())


def _ahead(until: str, now: float) -> bool:
    return until.isascii() and until.isdecimal() and len(until) < 15 and int(until) > now
