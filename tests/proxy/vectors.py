"""Messages that the proxy's listener must refuse, byte for byte, and unusual ones that it must not.

Each is whole under any lenient reading, so that no server has a reason to wait for more of it.
"""

from __future__ import annotations

from dataclasses import dataclass

_BAD = frozenset({400})
_CODING = frozenset({501})
# Is it a coding that is not known, or no coding at all? Both answers are true.
_NO_CODING = frozenset({400, 501})
_NO_VERSION = frozenset({400, 505})
_TOO_LARGE = frozenset({400, 413})
_TARGET_TOO_LONG = frozenset({414})
_HEAD_TOO_LARGE = frozenset({431})
_TRAILERS_TOO_LARGE = frozenset({400, 413, 431})


@dataclass(frozen=True, slots=True)
class Refused:
    """A message that must be refused, and by what rule."""

    name: str
    section: str
    message: bytes
    statuses: frozenset[int] = _BAD
    """What it may be answered with."""
    tolerable: bool = False
    """The standard lets a server accept it, or repair it; this proxy does neither."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A message that must be forwarded: its target as it is, and this content."""

    name: str
    section: str
    message: bytes
    content: bytes = b""

    @property
    def line(self) -> bytes:
        """The request line that an upstream must see."""
        method, target, _ = self.message.lstrip(b"\r\n").partition(b"\r\n")[0].split(b" ")
        return b"%b %b HTTP/1.1" % (method, target)


def _head(*lines: bytes) -> bytes:
    return b"".join(b"%b\r\n" % line for line in lines) + b"\r\n"


def _line(line: bytes) -> bytes:
    return _head(line, b"Host: a.example")


def _target(target: bytes) -> bytes:
    return _line(b"GET %b HTTP/1.1" % target)


def _version(version: bytes) -> bytes:
    return _line(b"GET / " + version)


def _host(value: bytes) -> bytes:
    return _head(b"GET / HTTP/1.1", b"Host: " + value)


def _get(*fields: bytes) -> bytes:
    return _head(b"GET / HTTP/1.1", b"Host: a.example", *fields)


def _value(value: bytes) -> bytes:
    return _get(b"X-A: " + value)


def _post(*fields: bytes, content: bytes = b"hello") -> bytes:
    return _head(b"POST / HTTP/1.1", b"Host: a.example", *fields) + content


def _length(value: bytes, content: bytes = b"hello") -> bytes:
    return _post(b"Content-Length: " + value, content=content)


def _coding(*values: bytes) -> bytes:
    return _post(*(b"Transfer-Encoding: " + value for value in values), content=b"5\r\nhello\r\n0\r\n\r\n")


def _chunked(content: bytes) -> bytes:
    return _post(b"Transfer-Encoding: chunked", content=content)


def _chunk(line: bytes) -> bytes:
    """One whose first chunk begins with this line."""
    return _chunked(line + b"\r\nhello\r\n0\r\n\r\n")


def _trailers(section: bytes) -> bytes:
    return _chunked(b"5\r\nhello\r\n0\r\n" + section + b"\r\n")


_REQUEST_LINES = (
    Refused("a space before the method", "RFC 9112 3", _line(b" GET / HTTP/1.1"), tolerable=True),
    Refused("a tab before the method", "RFC 9112 3", _line(b"\tGET / HTTP/1.1"), tolerable=True),
    Refused("two spaces after the method", "RFC 9112 3", _line(b"GET  / HTTP/1.1"), tolerable=True),
    Refused("two spaces before the version", "RFC 9112 3", _line(b"GET /  HTTP/1.1"), tolerable=True),
    Refused("a space after the version", "RFC 9112 3", _line(b"GET / HTTP/1.1 "), tolerable=True),
    Refused("a tab after the version", "RFC 9112 3", _line(b"GET / HTTP/1.1\t"), tolerable=True),
    Refused("a tab after the method", "RFC 9112 3", _line(b"GET\t/ HTTP/1.1"), tolerable=True),
    Refused("a tab before the version", "RFC 9112 3", _line(b"GET /\tHTTP/1.1"), tolerable=True),
    Refused("a vertical tab after the method", "RFC 9112 3", _line(b"GET\x0b/ HTTP/1.1"), tolerable=True),
    Refused("a form feed before the version", "RFC 9112 3", _line(b"GET /\x0cHTTP/1.1"), tolerable=True),
    Refused("a bare CR after the method", "RFC 9112 3", _line(b"GET\r/ HTTP/1.1"), tolerable=True),
    Refused("a request line without a target", "RFC 9112 3", _line(b"GET HTTP/1.1")),
    Refused("a request line of one word", "RFC 9112 3", _line(b"GET")),
    Refused("a word after the version", "RFC 9112 3", _line(b"GET / HTTP/1.1 x")),
    Refused("a NUL in the method", "RFC 9112 3.1", _line(b"G\x00T / HTTP/1.1")),
    Refused("a parenthesis in the method", "RFC 9112 3.1", _line(b"GE(T / HTTP/1.1")),
    Refused("a colon after the method", "RFC 9112 3.1", _line(b"GET: / HTTP/1.1")),
    Refused("a quoted method", "RFC 9112 3.1", _line(b'"GET" / HTTP/1.1')),
    Refused("a non-ASCII byte in the method", "RFC 9112 3.1", _line(b"GET\xe4 / HTTP/1.1")),
    Refused("CONNECT to an authority", "RFC 9110 9.3.6", _line(b"CONNECT a.example:443 HTTP/1.1"), _CODING, True),
    Refused("CONNECT to a path", "RFC 9110 9.3.6", _line(b"CONNECT / HTTP/1.1"), _NO_CODING),
    Refused("TRACE", "RFC 9110 9.3.8", _line(b"TRACE / HTTP/1.1"), _CODING, True),
    Refused(
        "TRACE with content",
        "RFC 9110 9.3.8",
        _head(b"TRACE / HTTP/1.1", b"Host: a.example", b"Content-Length: 5") + b"hello",
        _NO_CODING,
    ),
)

_VERSIONS = (
    Refused("HTTP/0.9, a line alone", "RFC 9112 3", b"GET /\r\n\r\n", _NO_VERSION),
    Refused("HTTP/0.9 with fields", "RFC 9112 3", _line(b"GET /"), _NO_VERSION),
    Refused("the version HTTP/0.9", "RFC 9110 15.6.6", _version(b"HTTP/0.9"), frozenset({505})),
    Refused("the version HTTP/1.2", "RFC 9110 2.5", _version(b"HTTP/1.2"), frozenset({505}), True),
    Refused("the version HTTP/1.9", "RFC 9110 2.5", _version(b"HTTP/1.9"), frozenset({505}), True),
    Refused("the version HTTP/2.0", "RFC 9110 15.6.6", _version(b"HTTP/2.0"), frozenset({505})),
    Refused("the version HTTP/3.0", "RFC 9110 15.6.6", _version(b"HTTP/3.0"), frozenset({505})),
    Refused("the preface of HTTP/2", "RFC 9113 3.4", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", _NO_VERSION),
    Refused("lower-case http/1.1", "RFC 9112 2.3", _version(b"http/1.1")),
    Refused("mixed-case Http/1.1", "RFC 9112 2.3", _version(b"Http/1.1")),
    Refused("a version of two digits", "RFC 9112 2.3", _version(b"HTTP/1.10")),
    Refused("a major version of two digits", "RFC 9112 2.3", _version(b"HTTP/11.1")),
    Refused("a version with a leading zero", "RFC 9112 2.3", _version(b"HTTP/01.1")),
    Refused("a version without a minor", "RFC 9112 2.3", _version(b"HTTP/1")),
    Refused("a version that ends at the dot", "RFC 9112 2.3", _version(b"HTTP/1.")),
    Refused("a version without a major", "RFC 9112 2.3", _version(b"HTTP/.1")),
    Refused("a version with a comma", "RFC 9112 2.3", _version(b"HTTP/1,1")),
    Refused("a version with a sign", "RFC 9112 2.3", _version(b"HTTP/+1.1")),
    Refused("a version with a letter", "RFC 9112 2.3", _version(b"HTTP/1.x")),
    Refused("a version of a fullwidth digit", "RFC 9112 2.3", _version("HTTP/\uff11.1".encode())),
    Refused("a version of another protocol", "RFC 9112 2.3", _version(b"HTTPS/1.1")),
    Refused("a version with a backslash", "RFC 9112 2.3", _version(b"HTTP\\1.1")),
    Refused("a space in the version", "RFC 9112 2.3", _version(b"HTTP/ 1.1")),
    Refused("a NUL after the version", "RFC 9112 2.3", _version(b"HTTP/1.1\x00")),
)

_TARGETS = (
    Refused("absolute-form", "RFC 9112 3.2.2", _target(b"http://a.example/"), tolerable=True),
    Refused("absolute-form of https", "RFC 9112 3.2.2", _target(b"https://a.example/"), tolerable=True),
    Refused("absolute-form for another host", "RFC 9112 3.2.2", _target(b"http://b.example/"), tolerable=True),
    Refused("absolute-form without a path", "RFC 9112 3.2.2", _target(b"http://a.example"), tolerable=True),
    Refused("absolute-form of another scheme", "RFC 9112 3.2.2", _target(b"file:///etc/hosts"), tolerable=True),
    Refused("absolute-form with userinfo", "RFC 9110 4.2.4", _target(b"http://u:p@a.example/"), tolerable=True),
    Refused("authority-form without CONNECT", "RFC 9112 3.2.3", _target(b"a.example:80")),
    Refused("asterisk-form without OPTIONS", "RFC 9112 3.2.4", _target(b"*")),
    Refused("asterisk-form with OPTIONS", "RFC 9112 3.2.4", _line(b"OPTIONS * HTTP/1.1"), tolerable=True),
    Refused("a target without a leading slash", "RFC 9112 3.2.1", _target(b"a/b")),
    Refused("a query without a path", "RFC 9112 3.2.1", _target(b"?a=b")),
    Refused("a backslash for the leading slash", "RFC 9112 3.2.1", _target(b"\\a")),
    Refused("a fragment", "RFC 9112 3.2.1", _target(b"/a#b")),
    Refused("an empty fragment", "RFC 9112 3.2.1", _target(b"/#")),
    Refused("a fragment after the query", "RFC 9112 3.2.1", _target(b"/a?b#c")),
    Refused("a space in the path", "RFC 9112 3.2", _target(b"/a b")),
    Refused("a space in the query", "RFC 9112 3.2", _target(b"/?a b")),
    Refused("a second version in the target", "RFC 9112 3.2", _target(b"/ HTTP/1.1")),
    Refused("a tab in the target", "RFC 9112 3.2", _target(b"/a\tb")),
    Refused("a NUL in the target", "RFC 9112 3.2", _target(b"/a\x00b")),
    Refused("a NUL in the query", "RFC 9112 3.2", _target(b"/?a\x00b")),
    Refused("a control character in the target", "RFC 9112 3.2", _target(b"/a\x01b")),
    Refused("an escape character in the target", "RFC 9112 3.2", _target(b"/a\x1b[0m")),
    Refused("DEL in the target", "RFC 9112 3.2", _target(b"/a\x7fb")),
    Refused("UTF-8 in the target", "RFC 9112 3.2", _target("/\u00e4".encode())),
    Refused("a byte of Latin-1 in the query", "RFC 9112 3.2", _target(b"/?a=\xe4")),
    Refused("a bare CR in the target", "RFC 9112 2.2", _target(b"/a\rb")),
    Refused("a bare LF in the target", "RFC 9112 2.2", _target(b"/a\nb")),
    Refused("a path of 8193 bytes", "RFC 9110 15.5.15", _target(b"/" + b"a" * 8192), _TARGET_TOO_LONG, True),
    Refused("a query of 20000 bytes", "RFC 9110 15.5.15", _target(b"/?" + b"a" * 20000), _TARGET_TOO_LONG, True),
)

_HOSTS = (
    Refused("no Host", "RFC 9112 3.2", _head(b"GET / HTTP/1.1", b"X-A: 1")),
    Refused("no field at all", "RFC 9112 3.2", _head(b"GET / HTTP/1.1")),
    Refused("an empty Host", "RFC 9110 4.2.1", _host(b"")),
    Refused("a Host of whitespace", "RFC 9110 4.2.1", _host(b" \t ")),
    Refused("a Host of a port alone", "RFC 9110 4.2.1", _host(b":80")),
    Refused("two equal Hosts", "RFC 9112 3.2", _get(b"Host: a.example")),
    Refused("two different Hosts", "RFC 9112 3.2", _get(b"Host: b.example")),
    Refused("a second Host that is empty", "RFC 9112 3.2", _get(b"Host:")),
    Refused("a second Host in other case, far below", "RFC 9112 3.2", _get(b"X-A: 1", b"X-B: 2", b"hOsT: b.example")),
    Refused(
        "two Hosts with HTTP/1.0",
        "RFC 9112 3.2",
        _head(b"GET / HTTP/1.0", b"Host: a.example", b"Host: b.example"),
    ),
    Refused("a malformed Host with HTTP/1.0", "RFC 9112 3.2", _head(b"GET / HTTP/1.0", b"Host: a/b")),
    Refused("two names in one Host", "RFC 9110 7.2", _host(b"a.example b.example")),
    Refused("two names with a comma in one Host", "RFC 9110 7.2", _host(b"a.example, b.example")),
    Refused("a comma in the Host", "RFC 9110 7.2", _host(b"a.example,b.example"), tolerable=True),
    Refused("a tab in the Host", "RFC 9110 7.2", _host(b"a\tb.example")),
    Refused("a slash in the Host", "RFC 9110 7.2", _host(b"a.example/b")),
    Refused("a backslash in the Host", "RFC 9110 7.2", _host(b"a.example\\b")),
    Refused("a question mark in the Host", "RFC 9110 7.2", _host(b"a.example?b")),
    Refused("a fragment in the Host", "RFC 9110 7.2", _host(b"a.example#b")),
    Refused("userinfo in the Host", "RFC 9110 7.2", _host(b"u@a.example")),
    Refused("userinfo with a password in the Host", "RFC 9110 7.2", _host(b"u:1@a.example")),
    Refused("a scheme in the Host", "RFC 9110 7.2", _host(b"http://a.example")),
    Refused("a quoted Host", "RFC 9110 7.2", _host(b'"a.example"')),
    Refused("a Host with letters for a port", "RFC 9110 7.2", _host(b"a.example:http")),
    Refused("a Host with a negative port", "RFC 9110 7.2", _host(b"a.example:-1")),
    Refused("a Host with a port of 65536", "RFC 9110 7.2", _host(b"a.example:65536"), tolerable=True),
    Refused("a Host with two ports", "RFC 9110 7.2", _host(b"a.example:80:81")),
    Refused("a Host with a space in the port", "RFC 9110 7.2", _host(b"a.example: 80")),
    Refused("a Host that is IPv6 without brackets", "RFC 9110 7.2", _host(b"::1")),
    Refused("a Host with an open bracket", "RFC 9110 7.2", _host(b"[::1")),
    Refused("a Host with letters in brackets", "RFC 9110 7.2", _host(b"[zz]")),
    Refused("a Host with text after the bracket", "RFC 9110 7.2", _host(b"[::1]a")),
    Refused("UTF-8 in the Host", "RFC 9110 7.2", _host("\u00e4.example".encode())),
    Refused("a NUL in the Host", "RFC 9110 5.5", _host(b"a.example\x00.b")),
    Refused("DEL in the Host", "RFC 9110 7.2", _host(b"a\x7f.example")),
)

_NAMES = (
    Refused("a space before a colon", "RFC 9112 5.1", _get(b"X-A : 1")),
    Refused("a tab before a colon", "RFC 9112 5.1", _get(b"X-A\t: 1")),
    Refused("a space before the colon of Host", "RFC 9112 5.1", _head(b"GET / HTTP/1.1", b"Host : a.example")),
    Refused("a space before the colon of Content-Length", "RFC 9112 5.1", _post(b"Content-Length : 5")),
    Refused(
        "a space before the colon of Transfer-Encoding",
        "RFC 9112 5.1",
        _post(b"Transfer-Encoding : chunked", content=b"0\r\n\r\n"),
    ),
    Refused(
        "a vertical tab before the colon of Transfer-Encoding",
        "RFC 9110 5.1",
        _post(b"Transfer-Encoding\x0b: chunked", content=b"0\r\n\r\n"),
    ),
    Refused(
        "a NUL before the colon of Transfer-Encoding",
        "RFC 9110 5.1",
        _post(b"Transfer-Encoding\x00: chunked", content=b"0\r\n\r\n"),
    ),
    Refused(
        "a vertical tab before Transfer-Encoding",
        "RFC 9110 5.1",
        _post(b"\x0bTransfer-Encoding: chunked", content=b"0\r\n\r\n"),
    ),
    Refused(
        "a space within Transfer-Encoding",
        "RFC 9110 5.1",
        _post(b"Transfer Encoding: chunked", content=b"0\r\n\r\n"),
    ),
    Refused("a NUL before the colon of Content-Length", "RFC 9110 5.1", _post(b"Content-Length\x00: 5")),
    Refused("an empty name", "RFC 9110 5.1", _get(b": 1")),
    Refused("a colon alone", "RFC 9110 5.1", _get(b":")),
    Refused("a line without a colon", "RFC 9112 5", _get(b"X-A")),
    Refused("a line without a colon in place of Host", "RFC 9112 5", _head(b"GET / HTTP/1.1", b"Host")),
    Refused("a space in a name", "RFC 9110 5.1", _get(b"X A: 1")),
    Refused("a slash in a name", "RFC 9110 5.1", _get(b"X/A: 1")),
    Refused("a parenthesis in a name", "RFC 9110 5.1", _get(b"X(A): 1")),
    Refused("an at sign in a name", "RFC 9110 5.1", _get(b"X@A: 1")),
    Refused("a quoted name", "RFC 9110 5.1", _get(b'"X-A": 1')),
    Refused("a brace in a name", "RFC 9110 5.1", _get(b"{X}: 1")),
    Refused("a semicolon in a name", "RFC 9110 5.1", _get(b"X;A: 1")),
    Refused("a NUL in a name", "RFC 9110 5.1", _get(b"X\x00A: 1")),
    Refused("a control character in a name", "RFC 9110 5.1", _get(b"X\x01A: 1")),
    Refused("DEL in a name", "RFC 9110 5.1", _get(b"X\x7fA: 1")),
    Refused("a non-ASCII byte in a name", "RFC 9110 5.1", _get(b"X\xe4: 1")),
    Refused("a bare CR in a name", "RFC 9112 2.2", _get(b"X\rA: 1")),
)

_VALUES = (
    Refused("a NUL in a value", "RFC 9110 5.5", _value(b"a\x00b"), tolerable=True),
    Refused("a NUL at the end of a value", "RFC 9110 5.5", _value(b"a\x00"), tolerable=True),
    Refused("a control character in a value", "RFC 9110 5.5", _value(b"a\x01b"), tolerable=True),
    Refused("a backspace in a value", "RFC 9110 5.5", _value(b"a\x08b"), tolerable=True),
    Refused("a vertical tab in a value", "RFC 9110 5.5", _value(b"a\x0bb"), tolerable=True),
    Refused("a form feed in a value", "RFC 9110 5.5", _value(b"a\x0cb"), tolerable=True),
    Refused("an escape character in a value", "RFC 9110 5.5", _value(b"\x1b[0m"), tolerable=True),
    Refused("DEL in a value", "RFC 9110 5.5", _value(b"a\x7fb"), tolerable=True),
    Refused("a bare CR in a value", "RFC 9110 5.5", _value(b"a\rb"), tolerable=True),
    Refused("a bare CR before a value", "RFC 9110 5.5", _value(b"\ra"), tolerable=True),
    Refused("a bare LF in a value", "RFC 9110 5.5", _value(b"a\nb"), tolerable=True),
    Refused("a bare LF that begins a field", "RFC 9112 2.2", _value(b"a\nX-B: b"), tolerable=True),
    Refused("a bare CR that begins a field", "RFC 9112 2.2", _value(b"a\rX-B: b"), tolerable=True),
    Refused(
        "a bare CR that begins a Transfer-Encoding",
        "RFC 9112 2.2",
        _post(b"X-A: a\rTransfer-Encoding: chunked", content=b"0\r\n\r\n"),
        tolerable=True,
    ),
)

_LINES = (
    Refused("LF for every line end", "RFC 9112 2.2", b"GET / HTTP/1.1\nHost: a.example\n\n", tolerable=True),
    Refused("LF after the request line", "RFC 9112 2.2", b"GET / HTTP/1.1\nHost: a.example\r\n\r\n", tolerable=True),
    Refused("LF after a field", "RFC 9112 2.2", b"GET / HTTP/1.1\r\nHost: a.example\n\r\n", tolerable=True),
    Refused("LF for the empty line", "RFC 9112 2.2", b"GET / HTTP/1.1\r\nHost: a.example\r\n\n", tolerable=True),
    Refused("LF before the request line", "RFC 9112 2.2", b"\n" + _get(), tolerable=True),
    Refused("CR before the request line", "RFC 9112 2.2", b"\r" + _get(), tolerable=True),
    Refused("CR after the request line", "RFC 9112 2.2", b"GET / HTTP/1.1\rHost: a.example\r\n\r\n"),
    Refused("CR for every line end", "RFC 9112 2.2", b"GET / HTTP/1.1\rHost: a.example\r\r\r\n\r\n"),
    Refused("CR CR LF after the request line", "RFC 9112 2.2", _line(b"GET / HTTP/1.1\r"), tolerable=True),
    Refused("CR CR LF after a field", "RFC 9112 2.2", _value(b"a\r"), tolerable=True),
    Refused(
        "CR CR LF for the empty line",
        "RFC 9112 2.2",
        b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\r\n\r\n",
        tolerable=True,
    ),
    Refused(
        "LF CR after a field", "RFC 9112 2.2", b"GET / HTTP/1.1\r\nHost: a.example\n\rX-A: 1\r\n\r\n", tolerable=True
    ),
    Refused(
        "a space before the first field",
        "RFC 9112 2.2",
        _head(b"GET / HTTP/1.1", b" X-A: 1", b"Host: a.example"),
        tolerable=True,
    ),
    Refused(
        "a tab before the first field",
        "RFC 9112 2.2",
        _head(b"GET / HTTP/1.1", b"\tX-A: 1", b"Host: a.example"),
        tolerable=True,
    ),
    Refused("a space before Host, the first field", "RFC 9112 2.2", _head(b"GET / HTTP/1.1", b" Host: a.example")),
    Refused(
        "a line of a space before the first field",
        "RFC 9112 2.2",
        _head(b"GET / HTTP/1.1", b" ", b"Host: a.example"),
        tolerable=True,
    ),
    Refused("a fold with a space", "RFC 9112 5.2", _get(b"X-A: 1", b" 2"), tolerable=True),
    Refused("a fold with a tab", "RFC 9112 5.2", _get(b"X-A: 1", b"\t2"), tolerable=True),
    Refused("a fold of nothing", "RFC 9112 5.2", _get(b"X-A: 1", b" "), tolerable=True),
    Refused("a fold that looks like a field", "RFC 9112 5.2", _get(b"X-A: 1", b" X-B: 2"), tolerable=True),
    Refused(
        "a fold in Host",
        "RFC 9112 5.2",
        _head(b"GET / HTTP/1.1", b"Host:", b" a.example"),
        tolerable=True,
    ),
    Refused("a fold in Content-Length", "RFC 9112 5.2", _post(b"Content-Length:", b" 5"), tolerable=True),
    Refused(
        "a fold in Transfer-Encoding",
        "RFC 9112 5.2",
        _post(b"Transfer-Encoding:", b" chunked", content=b"0\r\n\r\n"),
        tolerable=True,
    ),
)

_FRAMING = (
    Refused(
        "Content-Length, then Transfer-Encoding",
        "RFC 9112 6.1",
        _post(b"Content-Length: 6", b"Transfer-Encoding: chunked", content=b"0\r\n\r\nX"),
        tolerable=True,
    ),
    Refused(
        "Transfer-Encoding, then Content-Length",
        "RFC 9112 6.1",
        _post(b"Transfer-Encoding: chunked", b"Content-Length: 6", content=b"0\r\n\r\nX"),
        tolerable=True,
    ),
    Refused(
        "a Content-Length of 0, then Transfer-Encoding",
        "RFC 9112 6.1",
        _post(b"Content-Length: 0", b"Transfer-Encoding: chunked", content=b"0\r\n\r\n"),
        tolerable=True,
    ),
    Refused(
        "Content-Length and Transfer-Encoding with HTTP/1.0",
        "RFC 9112 6.1",
        _head(b"POST / HTTP/1.0", b"Host: a.example", b"Content-Length: 5", b"Transfer-Encoding: chunked")
        + b"0\r\n\r\n",
        tolerable=True,
    ),
    Refused(
        "Transfer-Encoding with HTTP/1.0",
        "RFC 9112 6.1",
        _head(b"POST / HTTP/1.0", b"Host: a.example", b"Transfer-Encoding: chunked") + b"0\r\n\r\n",
        tolerable=True,
    ),
    Refused("a Content-Length with a plus", "RFC 9110 8.6", _length(b"+5")),
    Refused("a Content-Length with a minus", "RFC 9110 8.6", _length(b"-5")),
    Refused("a Content-Length of minus zero", "RFC 9110 8.6", _length(b"-0", b"")),
    Refused("a Content-Length that is a list of equals", "RFC 9110 8.6", _length(b"5,5"), tolerable=True),
    Refused("a Content-Length that is a list", "RFC 9110 8.6", _length(b"5, 6", b"hello!")),
    Refused("a Content-Length in hexadecimal", "RFC 9110 8.6", _length(b"0x5")),
    Refused("a Content-Length in hexadecimal digits", "RFC 9110 8.6", _length(b"a", b"hellohello")),
    Refused("a Content-Length of two numbers", "RFC 9110 8.6", _length(b"5 5")),
    Refused("a Content-Length with a space between digits", "RFC 9110 8.6", _length(b"1 0", b"hellohello")),
    Refused("an empty Content-Length", "RFC 9110 8.6", _length(b"", b"")),
    Refused("a Content-Length with an underscore", "RFC 9110 8.6", _length(b"1_0", b"hellohello")),
    Refused("a Content-Length of a fullwidth digit", "RFC 9110 8.6", _length("\uff15".encode())),
    Refused("a Content-Length of a superscript digit", "RFC 9110 8.6", _length(b"\xb2", b"he")),
    Refused("a Content-Length with a semicolon", "RFC 9110 8.6", _length(b"5;")),
    Refused("a Content-Length with a fraction", "RFC 9110 8.6", _length(b"5.0")),
    Refused("a Content-Length with an exponent", "RFC 9110 8.6", _length(b"5e0")),
    Refused("a quoted Content-Length", "RFC 9110 8.6", _length(b'"5"')),
    Refused("a Content-Length of a word", "RFC 9110 8.6", _length(b"five")),
    Refused("a Content-Length after a vertical tab", "RFC 9110 8.6", _length(b"\x0b5")),
    Refused("a Content-Length before a NUL", "RFC 9110 8.6", _length(b"5\x00")),
    Refused("a Content-Length of 2^64 + 5", "RFC 9110 8.6", _length(b"18446744073709551621"), _TOO_LARGE),
    Refused("a Content-Length of 40 digits", "RFC 9110 8.6", _length(b"9" * 40), _TOO_LARGE),
    Refused("a Content-Length of 30 zeros and 5", "RFC 9110 8.6", _length(b"0" * 30 + b"5"), _TOO_LARGE, True),
    Refused(
        "two equal Content-Lengths",
        "RFC 9112 6.3",
        _post(b"Content-Length: 5", b"Content-Length: 5"),
        tolerable=True,
    ),
    Refused(
        "two different Content-Lengths",
        "RFC 9112 6.3",
        _post(b"Content-Length: 5", b"Content-Length: 6", content=b"hello!"),
    ),
    Refused("a second Content-Length that is empty", "RFC 9112 6.3", _post(b"Content-Length: 5", b"Content-Length:")),
    Refused(
        "Content-Lengths of 0 and 00",
        "RFC 9112 6.3",
        _get(b"Content-Length: 0", b"Content-Length: 00"),
        tolerable=True,
    ),
    Refused("the coding gzip", "RFC 9112 6.3", _coding(b"gzip"), _CODING),
    Refused("the coding identity", "RFC 9112 6.3", _coding(b"identity"), _CODING),
    Refused("a coding that does not exist", "RFC 9112 6.1", _coding(b"x-none, chunked"), _CODING),
    Refused("gzip, then chunked", "RFC 9112 6.1", _coding(b"gzip, chunked"), _CODING, True),
    Refused("chunked, then gzip", "RFC 9112 6.3", _coding(b"chunked, gzip"), _NO_CODING),
    Refused("chunked, then identity", "RFC 9112 6.3", _coding(b"chunked, identity"), _NO_CODING),
    Refused("identity, then chunked", "RFC 9112 6.1", _coding(b"identity, chunked"), _NO_CODING),
    Refused("chunked twice in one field", "RFC 9112 6.1", _coding(b"chunked, chunked"), _NO_CODING),
    Refused("chunked twice without a comma", "RFC 9112 6.1", _coding(b"chunked chunked"), _NO_CODING),
    Refused("chunked in two fields", "RFC 9112 6.1", _coding(b"chunked", b"chunked"), _NO_CODING),
    Refused("identity in a field, chunked in the next", "RFC 9112 6.1", _coding(b"identity", b"chunked"), _NO_CODING),
    Refused("chunked in a field, identity in the next", "RFC 9112 6.3", _coding(b"chunked", b"identity"), _NO_CODING),
    Refused("an empty coding, then chunked", "RFC 9112 6.1", _coding(b"", b"chunked"), _NO_CODING, True),
    Refused("an empty coding", "RFC 9112 6.3", _coding(b""), _NO_CODING),
    Refused("a comma after chunked", "RFC 9112 6.1", _coding(b"chunked,"), _NO_CODING, True),
    Refused("a comma before chunked", "RFC 9112 6.1", _coding(b", chunked"), _NO_CODING, True),
    Refused("chunked with a parameter", "RFC 9112 7.1", _coding(b"chunked;q=1"), _NO_CODING),
    Refused("chunked with a semicolon", "RFC 9112 7.1", _coding(b"chunked;"), _NO_CODING),
    Refused("chunked in double quotes", "RFC 9112 6.1", _coding(b'"chunked"'), _NO_CODING),
    Refused("chunked in single quotes", "RFC 9112 6.1", _coding(b"'chunked'"), _NO_CODING),
    Refused("xchunked", "RFC 9112 6.1", _coding(b"xchunked"), _NO_CODING),
    Refused("chunkedx", "RFC 9112 6.1", _coding(b"chunkedx"), _NO_CODING),
    Refused("chunked with a space in it", "RFC 9112 6.1", _coding(b"chun ked"), _NO_CODING),
    Refused("chunked after a vertical tab", "RFC 9112 6.1", _coding(b"\x0bchunked"), _NO_CODING),
    Refused("chunked before a vertical tab", "RFC 9112 6.1", _coding(b"chunked\x0b"), _NO_CODING),
    Refused("chunked before a form feed", "RFC 9112 6.1", _coding(b"chunked\x0c"), _NO_CODING),
    Refused("chunked before a NUL", "RFC 9112 6.1", _coding(b"chunked\x00"), _NO_CODING),
    Refused("chunked before a no-break space", "RFC 9112 6.1", _coding(b"chunked\xa0"), _NO_CODING),
    Refused("chunked before a bare CR", "RFC 9112 6.1", _coding(b"chunked\r"), _NO_CODING, True),
    Refused("chunked with a Kelvin sign", "RFC 9112 6.1", _coding("chun\u212aed".encode()), _NO_CODING),
)

_SIZES = (
    Refused("a field of 33000 bytes", "RFC 6585 5", _value(b"a" * 33000), _HEAD_TOO_LARGE, True),
    Refused("a name of 33000 bytes", "RFC 6585 5", _get(b"a" * 33000 + b": 1"), _HEAD_TOO_LARGE, True),
    Refused(
        "40 fields of 1000 bytes",
        "RFC 6585 5",
        _get(*(b"X-%d: %b" % (number, b"a" * 1000) for number in range(40))),
        _HEAD_TOO_LARGE,
        True,
    ),
    Refused(
        "40000 bytes of a head that does not end",
        "RFC 6585 5",
        b"GET / HTTP/1.1\r\nHost: a.example\r\nX-A: " + b"a" * 40000,
        _HEAD_TOO_LARGE,
        True,
    ),
    Refused("101 fields", "RFC 6585 5", _get(*(b"X-%d: 1" % number for number in range(100))), _HEAD_TOO_LARGE, True),
    Refused("1000 fields", "RFC 6585 5", _get(*(b"X-%d: 1" % number for number in range(999))), _HEAD_TOO_LARGE, True),
)

HEADS = (
    *_REQUEST_LINES,
    *_VERSIONS,
    *_TARGETS,
    *_HOSTS,
    *_NAMES,
    *_VALUES,
    *_LINES,
    *_FRAMING,
    *_SIZES,
)
"""The defect is in the head: no byte of it may reach an upstream."""

BODIES = (
    Refused("a chunk size with a plus", "RFC 9112 7.1", _chunk(b"+5")),
    Refused("a chunk size with a minus", "RFC 9112 7.1", _chunk(b"-5")),
    Refused("a chunk size with 0x", "RFC 9112 7.1", _chunk(b"0x5")),
    Refused("a space before a chunk size", "RFC 9112 7.1", _chunk(b" 5")),
    Refused("a tab before a chunk size", "RFC 9112 7.1", _chunk(b"\t5")),
    Refused("a space after a chunk size", "RFC 9112 7.1", _chunk(b"5 ")),
    Refused("a tab after a chunk size", "RFC 9112 7.1", _chunk(b"5\t")),
    Refused("a vertical tab after a chunk size", "RFC 9112 7.1", _chunk(b"5\x0b")),
    Refused("a NUL after a chunk size", "RFC 9112 7.1", _chunk(b"5\x00")),
    Refused("a space between the digits of a chunk size", "RFC 9112 7.1", _chunk(b"0 5")),
    Refused("an underscore in a chunk size", "RFC 9112 7.1", _chunk(b"0_5")),
    Refused("a comma after a chunk size", "RFC 9112 7.1", _chunk(b"5,")),
    Refused("a fraction in a chunk size", "RFC 9112 7.1", _chunk(b"5.0")),
    Refused("a chunk size that is not hexadecimal", "RFC 9112 7.1", _chunk(b"g")),
    Refused("a chunk size that ends in other letters", "RFC 9112 7.1", _chunk(b"5h")),
    Refused("a chunk size of a fullwidth digit", "RFC 9112 7.1", _chunk("\uff15".encode())),
    Refused("an empty chunk size", "RFC 9112 7.1", _chunk(b"")),
    Refused("an empty chunk size with an extension", "RFC 9112 7.1", _chunk(b";a=b")),
    Refused("a chunk size of 2^64 + 5", "RFC 9112 7.1", _chunk(b"10000000000000005"), _TOO_LARGE),
    Refused("a chunk size of 2^128 + 5", "RFC 9112 7.1", _chunk(b"1" + b"0" * 31 + b"5"), _TOO_LARGE),
    Refused("a chunk size of 40 zeros and 5", "RFC 9112 7.1", _chunk(b"0" * 40 + b"5"), _TOO_LARGE, True),
    Refused("LF after a chunk size", "RFC 9112 7.1", _chunked(b"5\nhello\r\n0\r\n\r\n")),
    Refused("CR after a chunk size", "RFC 9112 7.1", _chunked(b"5\rhello\r\n0\r\n\r\n")),
    Refused("CR CR LF after a chunk size", "RFC 9112 7.1", _chunk(b"5\r")),
    Refused("nothing after a chunk's data", "RFC 9112 7.1", _chunked(b"5\r\nhello0\r\n\r\n")),
    Refused("LF after a chunk's data", "RFC 9112 7.1", _chunked(b"5\r\nhello\n0\r\n\r\n")),
    Refused("CR after a chunk's data", "RFC 9112 7.1", _chunked(b"5\r\nhello\r0\r\n\r\n")),
    Refused("CR CR LF after a chunk's data", "RFC 9112 7.1", _chunked(b"5\r\nhello\r\r\n0\r\n\r\n")),
    Refused("one byte more than a chunk's size", "RFC 9112 7.1", _chunked(b"5\r\nhello!\r\n0\r\n\r\n")),
    Refused("two bytes more than a chunk's size", "RFC 9112 7.1", _chunked(b"5\r\nhello!!0\r\n\r\n")),
    Refused("one byte less than a chunk's size", "RFC 9112 7.1", _chunked(b"6\r\nhello\r\n0\r\n\r\n")),
    Refused("an empty line between chunks", "RFC 9112 7.1", _chunked(b"5\r\nhello\r\n\r\n0\r\n\r\n")),
    Refused("LF for every line end of the chunks", "RFC 9112 7.1", _chunked(b"5\nhello\n0\n\n")),
    Refused("a last chunk with a minus", "RFC 9112 7.1", _chunked(b"5\r\nhello\r\n-0\r\n\r\n")),
    Refused("a space after the last chunk", "RFC 9112 7.1", _chunked(b"5\r\nhello\r\n0 \r\n\r\n")),
    Refused("LF after the last chunk", "RFC 9112 7.1", _chunked(b"5\r\nhello\r\n0\n\r\n")),
    Refused("LF for the empty line after the trailers", "RFC 9112 7.1", _chunked(b"5\r\nhello\r\n0\r\n\n\r\n")),
    Refused("CR CR LF for the empty line after the trailers", "RFC 9112 7.1", _trailers(b"\r")),
    Refused("CR for the empty line after the trailers", "RFC 9112 7.1", _chunked(b"5\r\nhello\r\n0\r\n\rX: 1\r\n\r\n")),
    Refused("LF at the end of a chunk extension", "RFC 9112 7.1.1", _chunked(b"5;a\nhello\r\n0\r\n\r\n")),
    Refused("LF in a chunk extension", "RFC 9112 7.1.1", _chunk(b"5;a\nb")),
    Refused("LF in a quoted chunk extension", "RFC 9112 7.1.1", _chunk(b'5;a="b\nc"')),
    Refused("CR in a chunk extension", "RFC 9112 7.1.1", _chunk(b"5;a\rb")),
    Refused("a NUL in a chunk extension", "RFC 9112 7.1.1", _chunk(b"5;a\x00b")),
    Refused("a control character in a chunk extension", "RFC 9112 7.1.1", _chunk(b"5;a=\x01")),
    Refused("DEL in a chunk extension", "RFC 9112 7.1.1", _chunk(b"5;a=\x7f")),
    Refused("a chunk extension of 5000 bytes", "RFC 9112 7.1.1", _chunk(b"5;a=" + b"b" * 5000), _TOO_LARGE, True),
    Refused("a fold in the trailers", "RFC 9112 7.1.2", _trailers(b"X-A: 1\r\n 2\r\n"), tolerable=True),
    Refused("a space before the first trailer", "RFC 9112 7.1.2", _trailers(b" X-A: 1\r\n")),
    Refused("a trailer without a colon", "RFC 9112 7.1.2", _trailers(b"X-A\r\n")),
    Refused("a trailer with an empty name", "RFC 9112 7.1.2", _trailers(b": 1\r\n")),
    Refused("a space before the colon of a trailer", "RFC 9112 7.1.2", _trailers(b"X-A : 1\r\n")),
    Refused("a space in the name of a trailer", "RFC 9112 7.1.2", _trailers(b"X A: 1\r\n")),
    Refused("a NUL in the name of a trailer", "RFC 9112 7.1.2", _trailers(b"X\x00A: 1\r\n")),
    Refused("a NUL in a trailer", "RFC 9112 7.1.2", _trailers(b"X-A: a\x00b\r\n"), tolerable=True),
    Refused("a control character in a trailer", "RFC 9112 7.1.2", _trailers(b"X-A: a\x01b\r\n"), tolerable=True),
    Refused("a bare CR in a trailer", "RFC 9112 7.1.2", _trailers(b"X-A: a\rb\r\n"), tolerable=True),
    Refused("LF at the end of a trailer", "RFC 9112 7.1.2", _trailers(b"X-A: a\n"), tolerable=True),
    Refused(
        "trailers of 40000 bytes",
        "RFC 9112 7.1.2",
        _trailers(b"X-A: %b\r\n" % (b"a" * 40000)),
        _TRAILERS_TOO_LARGE,
        True,
    ),
    Refused("4000 trailers", "RFC 9112 7.1.2", _trailers(b"X-A: 1\r\n" * 4000), _TRAILERS_TOO_LARGE, True),
)
"""The defect is in the content: the head may have reached an upstream, but what it gets must not look whole."""

ACCEPTED = (
    Accepted("a method in lower case", "RFC 9110 9.1", _line(b"get / HTTP/1.1")),
    Accepted("a method with a hyphen", "RFC 9110 9.1", _line(b"M-SEARCH / HTTP/1.1")),
    Accepted("a method that is not registered", "RFC 9110 9.1", _line(b"PURGE / HTTP/1.1")),
    Accepted("a method of every mark a token may have", "RFC 9110 5.6.2", _line(b"!#$%&'*+-.^_`|~ / HTTP/1.1")),
    Accepted("HEAD", "RFC 9110 9.3.2", _line(b"HEAD / HTTP/1.1")),
    Accepted("OPTIONS of a path", "RFC 9110 9.3.7", _line(b"OPTIONS /a HTTP/1.1")),
    Accepted("HTTP/1.0 without Host", "RFC 9112 3.2", _head(b"GET / HTTP/1.0")),
    Accepted("HTTP/1.0 with Host", "RFC 9112 3.2", _line(b"GET / HTTP/1.0")),
    Accepted(
        "HTTP/1.0 that keeps the connection",
        "RFC 9112 9.3",
        _head(b"GET / HTTP/1.0", b"Host: a.example", b"Connection: keep-alive"),
    ),
    Accepted(
        "HTTP/1.0 with content",
        "RFC 9112 6.3",
        _head(b"POST / HTTP/1.0", b"Host: a.example", b"Content-Length: 5") + b"hello",
        b"hello",
    ),
    Accepted("an empty line before the request", "RFC 9112 2.2", b"\r\n" + _get()),
    Accepted("a question mark alone", "RFC 9112 3.2.1", _target(b"/?")),
    Accepted("a query with slashes and question marks", "RFC 3986 3.4", _target(b"/?a=/../b??")),
    Accepted("two slashes", "RFC 3986 3.3", _target(b"//a//b")),
    Accepted("dot segments", "RFC 3986 3.3", _target(b"/a/../b/./c")),
    Accepted("percent-encodings in both cases", "RFC 3986 2.1", _target(b"/a%2Fb%2fc%20?d=%3D%3d")),
    Accepted("parameters in the path", "RFC 3986 3.3", _target(b"/a;b=c;d/e,f")),
    Accepted("every mark a path may have", "RFC 3986 3.3", _target(b"/-._~!$&'()*+,;=:@")),
    Accepted("a URI in the path", "RFC 3986 3.3", _target(b"/http://b.example/")),
    Accepted("a target of 8000 bytes", "RFC 9112 3", _target(b"/" + b"a" * 7999)),
    Accepted("a Host with a port", "RFC 9110 7.2", _host(b"a.example:8080")),
    Accepted("a Host of IPv4", "RFC 9110 7.2", _host(b"127.0.0.1")),
    Accepted("a Host of IPv6", "RFC 9110 7.2", _host(b"[::1]")),
    Accepted("a Host of IPv6 with a port", "RFC 9110 7.2", _host(b"[::1]:8080")),
    Accepted("a Host that ends in a dot", "RFC 9110 7.2", _host(b"a.example.")),
    Accepted("a Host with an underscore", "RFC 9110 7.2", _host(b"a_b.example")),
    Accepted("a Host in upper case", "RFC 9110 7.2", _host(b"A.EXAMPLE")),
    Accepted("Host in other case, not first", "RFC 9110 5.1", _head(b"GET / HTTP/1.1", b"X-A: 1", b"hOST: a.example")),
    Accepted("an empty value", "RFC 9110 5.5", _get(b"X-A:")),
    Accepted("a value of whitespace", "RFC 9110 5.5", _get(b"X-A: \t ")),
    Accepted("no whitespace before a value", "RFC 9112 5", _head(b"GET / HTTP/1.1", b"Host:a.example", b"X-A:1")),
    Accepted(
        "tabs and spaces around values",
        "RFC 9112 5",
        _head(b"GET / HTTP/1.1", b"Host:\t a.example \t", b"X-A:\t1\t"),
    ),
    Accepted("a tab in a value", "RFC 9110 5.5", _value(b"a\tb")),
    Accepted("UTF-8 in a value", "RFC 9110 5.5", _value("\u00e4".encode())),
    Accepted("Latin-1 in a value", "RFC 9110 5.5", _value(b"\xe4\xff\x80")),
    Accepted("colons and quotes in a value", "RFC 9110 5.5", _value(b':a: "b\\"" (c)')),
    Accepted("every mark a name may have", "RFC 9110 5.6.2", _get(b"!#$%&'*+-.^_`|~: 1")),
    Accepted("a name of one digit", "RFC 9110 5.6.2", _get(b"1: 1")),
    Accepted("a field that comes twice", "RFC 9110 5.3", _get(b"X-A: 1", b"X-A: 2")),
    Accepted("100 fields", "RFC 9110 5.4", _get(*(b"X-%d: 1" % number for number in range(99)))),
    Accepted("a value of 7000 bytes", "RFC 9110 5.4", _value(b"a" * 7000)),
    Accepted("Connection: close", "RFC 9112 9.6", _get(b"Connection: close")),
    Accepted("Connection: keep-alive", "RFC 9112 9.3", _get(b"Connection: keep-alive")),
    Accepted("a Connection with empty elements", "RFC 9110 5.6.1", _get(b"Connection: , x-a ,,Close", b"X-A: 1")),
    Accepted("content with Content-Length", "RFC 9112 6.2", _length(b"5"), b"hello"),
    Accepted("tabs around a Content-Length", "RFC 9112 5", _length(b"\t5\t"), b"hello"),
    Accepted("content of no bytes", "RFC 9112 6.2", _length(b"0", b"")),
    Accepted("content that looks like a request", "RFC 9112 6.2", _length(b"%d" % len(_get()), _get()), _get()),
    Accepted("content with GET", "RFC 9110 9.3.1", _get(b"Content-Length: 5") + b"hello", b"hello"),
    Accepted(
        "content with DELETE",
        "RFC 9110 9.3.5",
        _head(b"DELETE / HTTP/1.1", b"Host: a.example", b"Content-Length: 5") + b"hello",
        b"hello",
    ),
    Accepted("one chunk", "RFC 9112 7.1", _chunk(b"5"), b"hello"),
    Accepted("chunks of a byte", "RFC 9112 7.1", _chunked(b"1\r\nh\r\n1\r\ni\r\n0\r\n\r\n"), b"hi"),
    Accepted("no chunk but the last", "RFC 9112 7.1", _chunked(b"0\r\n\r\n")),
    Accepted("chunked in upper case", "RFC 9112 7", _coding(b"CHUNKED"), b"hello"),
    Accepted("chunked with GET", "RFC 9110 9.3.1", _get(b"Transfer-Encoding: chunked") + b"1\r\nx\r\n0\r\n\r\n", b"x"),
    Accepted("tabs around chunked", "RFC 9112 5", _coding(b"\tchunked\t"), b"hello"),
    Accepted("a chunk size in lower case", "RFC 9112 7.1", _chunked(b"a\r\nhellohello\r\n0\r\n\r\n"), b"hellohello"),
    Accepted("a chunk size in upper case", "RFC 9112 7.1", _chunked(b"A\r\nhellohello\r\n0\r\n\r\n"), b"hellohello"),
    Accepted("zeros before a chunk size", "RFC 9112 7.1", _chunk(b"0005"), b"hello"),
    Accepted("a last chunk of three zeros", "RFC 9112 7.1", _chunked(b"5\r\nhello\r\n000\r\n\r\n"), b"hello"),
    Accepted("line ends in a chunk's data", "RFC 9112 7.1", _chunked(b"6\r\n\r\n\n\r0\n\r\n0\r\n\r\n"), b"\r\n\n\r0\n"),
    Accepted("a chunk extension", "RFC 9112 7.1.1", _chunk(b"5;a=b"), b"hello"),
    Accepted("a chunk extension without a value", "RFC 9112 7.1.1", _chunk(b"5;a"), b"hello"),
    Accepted("two chunk extensions", "RFC 9112 7.1.1", _chunk(b"5;a=b;c"), b"hello"),
    Accepted("a quoted chunk extension", "RFC 9112 7.1.1", _chunk(b'5;a="q;x"'), b"hello"),
    Accepted("an extension of the last chunk", "RFC 9112 7.1.1", _chunked(b"5\r\nhello\r\n0;a=b\r\n\r\n"), b"hello"),
    Accepted("a trailer", "RFC 9112 7.1.2", _trailers(b"X-A: 1\r\n"), b"hello"),
    Accepted("trailers with odd values", "RFC 9112 7.1.2", _trailers(b"X-A:\r\nX-B:\t\xe4 \r\nx-b: 2\r\n"), b"hello"),
)
"""Well-formed, if unusual."""
