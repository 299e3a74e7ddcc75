"""What a name consists of."""

from __future__ import annotations

from functools import lru_cache

from cryptography import x509

from exporter.certcheck.text import printable

_SHOWN = frozenset({"C", "ST", "L", "O", "OU", "CN"})


@lru_cache(maxsize=1024)
def first_values(name: str | None) -> dict[str, str]:
    """The first value of each common attribute of an RFC 4514 name: `{"CN": "orders", "O": "Example"}`.

    Empty where it cannot be read, as when it was cut off to be shown. Not to be changed: it is made once.
    """
    try:
        parsed = x509.Name.from_rfc4514_string(name or "")
    except ValueError:
        return {}
    found: dict[str, str] = {}
    for attribute in parsed:
        if attribute.rfc4514_attribute_name in _SHOWN and isinstance(attribute.value, str):
            found.setdefault(attribute.rfc4514_attribute_name, printable(attribute.value))
    return found
