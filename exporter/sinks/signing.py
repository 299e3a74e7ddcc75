"""Signatures of webhooks, by Standard Webhooks 1.0: HMAC-SHA256 over id, time and body."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Sequence
from datetime import datetime

_PREFIX = "whsec_"


def read_secret(text: str) -> bytes:
    """The key that a secret stands for: base64, with or without `whsec_` in front.

    Raises:
        ValueError: it is none; the sentence does not quote it.
    """
    try:
        encoded = text.strip().removeprefix(_PREFIX).rstrip("=")
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("has no secret: whsec_ and base64, on one line") from None
    if not 24 <= len(key) <= 64:
        raise ValueError("has a secret that is not 24 to 64 bytes long")
    return key


def signature_fields(keys: Sequence[bytes], event_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """The fields that let a receiver tell who has sent a body, when, and whether it had it before.

    With two keys there are two signatures: a receiver takes the one that it has the key of. Without a key there is
    none, and the other fields are there all the same.
    """
    timestamp = str(int(at.timestamp()))
    fields = {"webhook-id": event_id, "webhook-timestamp": timestamp}
    if keys:
        content = f"{event_id}.{timestamp}.".encode() + body
        fields["webhook-signature"] = " ".join(f"v1,{_signature(key, content)}" for key in keys)
    return fields


def _signature(key: bytes, content: bytes) -> str:
    return base64.b64encode(hmac.digest(key, content, "sha256")).decode()
