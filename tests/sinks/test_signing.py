"""Signatures, as another implementation of Standard Webhooks reads them."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from exporter.sinks.signing import read_secret, signature_fields
from tests.fakes import NOON


def verifies(secret: str, fields: dict[str, str], body: bytes) -> bool:
    try:
        Webhook(secret).verify(body, fields, json_parse=False)
    except WebhookVerificationError:
        return False
    return True


def signed(random: Random) -> tuple[str, dict[str, str], bytes]:
    key = random.randbytes(random.randint(24, 64))
    secret = random.choice(("", "whsec_")) + base64.b64encode(key).decode()
    body = random.randbytes(random.randint(1, 200)).hex().encode()
    return secret, signature_fields([read_secret(secret)], f"id-{random.random()}", datetime.now(UTC), body), body


@pytest.mark.parametrize("seed", range(100))
def test_a_signature_verifies(seed: int) -> None:
    assert verifies(*signed(Random(seed)))


@pytest.mark.parametrize("seed", range(100))
def test_with_one_bit_flipped_it_does_not(seed: int) -> None:
    random = Random(seed)
    secret, fields, body = signed(random)
    place = random.choice(("signature", "body", "id"))
    if place == "signature":
        signature = bytearray(base64.b64decode(fields["webhook-signature"][3:]))
        signature[random.randrange(32)] ^= 1 << random.randrange(8)
        fields["webhook-signature"] = "v1," + base64.b64encode(signature).decode()
    elif place == "body":
        changed = bytearray(body)
        changed[random.randrange(len(body))] ^= 1
        body = bytes(changed)
    else:
        fields["webhook-id"] = fields["webhook-id"][:-1] + chr(ord(fields["webhook-id"][-1]) ^ 1)
    assert not verifies(secret, fields, body)


def test_while_a_secret_is_exchanged_both_verify_and_no_other() -> None:
    old, new, other = (base64.b64encode(bytes([each]) * 32).decode() for each in range(3))
    fields = signature_fields([read_secret(old), read_secret(new)], "id", datetime.now(UTC), b"{}")
    assert [verifies(each, fields, b"{}") for each in (old, new, other)] == [True, True, False]
    assert len(fields["webhook-signature"].split(" ")) == 2


def test_each_attempt_has_its_own_time_and_the_same_id() -> None:
    key = bytes(32)
    first = signature_fields([key], "id", NOON, b"{}")
    second = signature_fields([key], "id", NOON + timedelta(seconds=1.9), b"{}")
    assert int(second["webhook-timestamp"]) - int(first["webhook-timestamp"]) == 1
    assert first["webhook-id"] == second["webhook-id"] == "id"
    assert first["webhook-signature"] != second["webhook-signature"]


def test_without_a_secret_there_is_no_signature() -> None:
    assert signature_fields([], "id", NOON, b"{}").keys() == {"webhook-id", "webhook-timestamp"}


@pytest.mark.parametrize("length", [24, 25, 64])
def test_a_secret_is_base64_with_or_without_its_prefix_and_padding(length: int) -> None:
    key = bytes(range(length))
    encoded = base64.b64encode(key).decode()
    for text in (encoded, f"whsec_{encoded}", f"  whsec_{encoded}\n", encoded.rstrip("=")):
        assert read_secret(text) == key


@pytest.mark.parametrize("length", [0, 1, 23, 65])
def test_a_secret_has_a_length(length: int) -> None:
    with pytest.raises(ValueError, match="has a secret that is not 24 to 64 bytes long"):
        read_secret(base64.b64encode(bytes(length)).decode())


@pytest.mark.parametrize(
    "text", ["canary!" * 8, "whsec_" + "canary é" * 8, "\n".join([base64.b64encode(bytes(30)).decode()] * 2)]
)
def test_what_is_no_base64_is_no_secret_and_is_not_quoted(text: str) -> None:
    with pytest.raises(ValueError, match=r"^has no secret: whsec_ and base64, on one line$"):
        read_secret(text)


def test_what_the_documentation_shows_verifies_too() -> None:
    page = (Path(__file__).parent.parent.parent / "docs" / "webhooks.md").read_text("utf-8")
    [source] = re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    assert len([line for line in source.splitlines() if line]) <= 10
    shown: dict[str, Any] = {}
    exec(source, shown)
    for seed in range(20):
        secret, fields, body = signed(Random(seed))
        assert shown["is_genuine"](secret, fields, body)
        assert not shown["is_genuine"](secret, fields, body + b" ")
