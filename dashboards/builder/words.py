"""Words, symbols and colours for what a query can only say as a number.

The colours are those of Okabe and Ito, which people with any kind of colour vision tell apart. None stands alone: where
a colour means something, a word and a symbol say it as well.
"""

from __future__ import annotations

from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]

BLUE, SKY, ORANGE, VERMILLION, PURPLE, GREY = "#0072B2", "#56B4E9", "#E69F00", "#D55E00", "#CC79A7", "#6E6E6E"

FILLS = {SKY: "#8FD0F5", ORANGE: "#FFB52E", VERMILLION: "#C24E00", PURPLE: "#8E4585"}
"""The same behind text: light enough for Grafana to write in black, or dark enough for white."""

STATES = {
    "valid": (1, "✓ valid", BLUE),
    "expiring": (2, "▲ expiring", ORANGE),
    "not_yet_valid": (3, "◷ not valid yet", SKY),
    "unreadable": (4, "! cannot be used", PURPLE),
    "expired": (5, "✗ expired", VERMILLION),
}
"""Each state that counts, with its number: the worst of several is the highest. A superseded one does not count."""

ROLES = {
    "upstream": "ours, to upstreams",
    "upstream_server": "the upstream's",
    "client": "a client's",
    "server": "our listener's",
    "ca": "an authority's",
}
"""Whose certificate it is."""

ROLE_COLOURS = dict(zip(ROLES, (BLUE, ORANGE, PURPLE, SKY, VERMILLION), strict=True))

EVENTS = {
    "CertificateExpiringSoon": ("▲ expiring soon", ORANGE),
    "CertificateExpired": ("✗ expired", VERMILLION),
    "CertificateInvalid": ("! invalid", PURPLE),
    "CertificateRenewed": ("✓ renewed", BLUE),
}


def fill(colour: str) -> str:
    """A colour, as it is behind text."""
    return FILLS.get(colour, colour)


_ENDLESS = 10**15


def values(*cases: tuple[float | str, str, str]) -> Json:
    """Words and a colour for single values."""
    options = {str(value): {"text": text, "color": fill(colour)} for value, text, colour in cases}
    return {"type": "value", "options": _numbered(options)}


def span(first: float, last: float | None, colour: str, text: str | None = None) -> Json:
    """A colour, and words, for all from `first` to `last`; without an end if that is None."""
    result: Json = {"color": fill(colour), "index": 0} | ({"text": text} if text else {})
    # Grafana allows null for the end, and takes it for 0.
    return {"type": "range", "options": {"from": first, "to": _ENDLESS if last is None else last, "result": result}}


def empty(text: str) -> Json:
    """A word for a label that is not there."""
    return {"type": "special", "options": {"match": "empty", "result": {"text": text, "index": 0}}}


def none_or_count(colour: str) -> list[Json]:
    """0 is good and says so; more is a number in this colour."""
    return [values((0, "✓ none", BLUE)), span(1, None, colour)]


def states() -> list[Json]:
    """The words for the number of a state."""
    return [values((0, "no certificate", GREY), *STATES.values())]


def roles() -> list[Json]:
    """Each role in the words of somebody who has not read the manual."""
    options = {role: {"text": words} for role, words in ROLES.items()}
    return [{"type": "value", "options": _numbered(options)}]


def _numbered(options: dict[str, dict[str, str]]) -> Json:
    return {value: {**result, "index": index} for index, (value, result) in enumerate(options.items())}
