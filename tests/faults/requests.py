"""Requests that nobody means well with: made from the dashboard's own description, or by hand."""

import json
from typing import Any

from hypothesis import strategies as st

Request = dict[str, Any]
_WORDS = (
    *("", "0", "-1", "1", "99999999999999999999", "½9", "一", "\u202e", "..", "../..", "%", "%00"),
    *("\0", "\r\nset-cookie: x=1", "<script>", "promote", "drift", "2026-13-99T99:99", "NaN", "é"),
    *(
        "9999-12-31T23:59:59+23:59",
        "0001-01-01T00:00:00-23:59",
        "x" * 5000,
        "1e400",
        "null",
        "\ud800",
    ),
)
_HEADERS = (
    *("accept", "authorization", "cookie", "content-type", "content-length", "range", "origin"),
    *(
        "sec-fetch-site",
        "x-forwarded-for",
        "x-user",
        "if-none-match",
        "expect",
        "transfer-encoding",
    ),
)
_KINDS = (
    *("application/x-www-form-urlencoded", "multipart/form-data", "multipart/form-data; boundary="),
    *("multipart/form-data; boundary=x", "application/json", "text/plain; charset=utf-99", "", ";"),
)


def texts() -> st.SearchStrategy[str]:
    """Words that parsers stumble over, and any others."""
    return st.sampled_from(_WORDS) | st.text(max_size=20)


def malformed(document: dict[str, Any]) -> st.SearchStrategy[Request]:
    """Requests to the paths of a description and beside them, in arguments of `httpx`'s `request`."""
    segment = texts().map(lambda text: text.encode("utf-8", "surrogatepass"))
    path = st.builds(_filled, st.sampled_from([*document["paths"]]), st.lists(segment, min_size=4))
    beside = st.lists(segment, max_size=4).map(lambda parts: b"/" + b"/".join(parts))
    names = [
        name
        for methods in document["paths"].values()
        for method in methods.values()
        for content in method.get("requestBody", {}).get("content", {}).values()
        for name in content["schema"]["properties"]
    ]
    fields = st.dictionaries(
        st.sampled_from([*dict.fromkeys(names)]) | texts(), texts(), max_size=9
    )
    body = st.one_of(
        fields.map(_encoded),
        st.binary(max_size=200),
        st.sampled_from(
            [b"", b"&", b"=", b"%", b"%zz=%", b"a" * 70_000, b"--x\r\n\r\n--x--", b"--x"]
        ),
        fields.map(lambda found: json.dumps(found).encode()),
    )
    value = texts().map(lambda text: text.encode("utf-8", "surrogatepass").replace(b"\0", b""))
    safe = value.map(lambda text: text.replace(b"\r", b"").replace(b"\n", b""))
    headers = st.dictionaries(st.sampled_from(_HEADERS[:-1]), safe, max_size=4)
    return st.fixed_dictionaries(
        {
            "method": st.sampled_from(
                ["GET", "GET", "POST", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"]
            ),
            "path": path | beside,
            "query": st.none() | st.binary(max_size=30),
            "headers": headers,
            "kind": st.sampled_from(_KINDS),
            "content": body,
        }
    )


RAW = (
    b"",
    b"\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nhost: evil.example\r\n\r\n",
    b"GET http://evil.example/ HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
    b"GET /\xff\xfe HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
    b"GET /%ff%fe HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
    b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\n" + b"x: y\r\n" * 50_000 + b"\r\n",
    b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nx: " + b"y" * 500_000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\n folded: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nx\0y: z\r\n\r\n",
    b"GET / HTTP/1.1\nhost: 127.0.0.1\n\n",
    b"POST /decisions/promote HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: -1\r\n\r\n",
    b"POST /decisions/promote HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 99999999999\r\n\r\n",
    b"POST /decisions/promote HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 5\r\n"
    b"transfer-encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    b"POST /decisions/promote HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: chunked\r\n\r\n"
    b"ffffffffffffffff\r\n",
    b"POST /decisions/promote HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 3\r\n"
    b"content-length: 4\r\n\r\nabcd",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"OPTIONS * HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
    b"CONNECT evil.example:443 HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    b"sec-websocket-key: x\r\nsec-websocket-version: 13\r\n\r\n",
)
"""What no client sends: bytes on the wire."""


def _filled(path: str, parts: list[bytes]) -> bytes:
    values = iter(parts * 4)
    return b"/".join(
        next(values) if part.startswith("{") else part.encode() for part in path.split("/")
    )


def _encoded(fields: dict[str, str]) -> bytes:
    from urllib.parse import urlencode

    return urlencode(fields, errors="surrogatepass").encode()
