"""The rows of `/certs` of a certgauge that runs, asked for over its admin listener."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlencode, urlsplit

from exporter.problems import ConfigError, Problem

_TIMEOUT_SECONDS = 30.0
_MOST_ROWS = "1000"
_LARGEST_ANSWER = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Remote:
    """Where one is, and what it is asked with. Takes no proxy from the environment, and follows no redirect."""

    url: str
    token: str | None = None
    ca_file: Path | None = None

    def certificates(self, filters: Mapping[str, str], tell: Callable[[str], None]) -> list[dict[str, Any]]:
        """All rows that the filters choose, soonest to expire first. Blocks.

        Raises:
            ConfigError: it cannot be asked, or refuses to answer.
        """
        rows: list[dict[str, Any]] = []
        try:
            for page in self._pages(filters):
                rows += page
                tell(f"certificates: {len(rows):,}")
        except (OSError, HTTPException, ValueError, KeyError, TypeError) as exc:
            raise self._problem(_reason(exc)) from None
        return rows

    def _pages(self, filters: Mapping[str, str]) -> Iterator[list[dict[str, Any]]]:
        parts = self._parts()
        with closing(self._connection(parts)) as connection:
            cursor: str | None = ""
            while cursor is not None:
                query = {**filters, "limit": _MOST_ROWS, **({"cursor": cursor} if cursor else {})}
                connection.request("GET", f"{parts.path.rstrip('/')}/certs?{urlencode(query)}", headers=self._headers())
                document = self._document(connection.getresponse())
                cursor = document["next"]
                yield document["certs"]

    def _parts(self) -> SplitResult:
        try:
            parts = urlsplit(self.url)
            _ = parts.port
        except ValueError:
            parts = urlsplit("")
        if parts.username is not None or parts.password is not None:
            raise ConfigError([Problem("--url", "", "must not carry credentials; use --token-file")])
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
            raise ConfigError([Problem("--url", "", "must be an http:// or https:// URL of the admin listener")])
        return parts

    def _connection(self, parts: SplitResult) -> HTTPConnection:
        assert parts.hostname is not None
        if parts.scheme == "http":
            return HTTPConnection(parts.hostname, parts.port, timeout=_TIMEOUT_SECONDS)
        context = ssl.create_default_context(cafile=self.ca_file)
        return HTTPSConnection(parts.hostname, parts.port, timeout=_TIMEOUT_SECONDS, context=context)

    def _headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token}"} if self.token else {}

    def _document(self, response: HTTPResponse) -> Any:
        body = response.read(_LARGEST_ANSWER)
        if response.status == 401:
            raise self._problem("wants a token; give it with --token-file")
        if response.status != 200:
            raise self._problem(f"answered {response.status}{_detail(body)}")
        return json.loads(body)

    def _problem(self, message: str) -> ConfigError:
        return ConfigError([Problem(self.url, "", message)])


def _detail(body: bytes) -> str:
    try:
        return f": {json.loads(body)['detail']}"
    except (ValueError, KeyError, TypeError):
        return ""


def _reason(exc: Exception) -> str:
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {exc.verify_message}"
    if isinstance(exc, OSError):
        return f"cannot be asked: {exc.strerror or 'it does not answer in time'}"
    return "does not answer as a certgauge does"
