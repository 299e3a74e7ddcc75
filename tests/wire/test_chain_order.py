"""What a certificate is in its chain: who has issued whom decides, in whatever order a file has them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from tests.authority import DAY, Authority, Issued
from tests.process import Process, run
from tests.wire.shown import rows, series
from tests.wire.worlds import configured

POSITIONS = ("leaf", "intermediate", "root")
ORDERS = list(permutations(POSITIONS))


def name(order: tuple[str, ...]) -> str:
    return "-".join(order)


@pytest.fixture(scope="module")
def chain(authority: Authority) -> dict[str, Issued]:
    intermediate = authority.intermediate("partners", 1000 * DAY)
    return {"leaf": intermediate.issue("partner"), "intermediate": intermediate.root, "root": authority.root}


@pytest.fixture(scope="module")
def process(
    tmp_path_factory: pytest.TempPathFactory, authority: Authority, chain: dict[str, Issued]
) -> Iterator[Process]:
    """An API for each order, which allows the clients of such a file."""
    directory = tmp_path_factory.mktemp("orders")
    authority.issue("127.0.0.1").write(directory, "gateway")
    certificates: dict[str, Any] = {"gateway": {"cert_file": "gateway.pem", "key_file": "gateway.key"}}
    for order in ORDERS:
        (directory / f"{name(order)}.pem").write_bytes(b"".join(chain[each].pem for each in order))
        certificates[name(order)] = {"cert_file": f"{name(order)}.pem"}
    apis = [
        {
            "api_id": name(order),
            "listen_path": f"/{name(order)}/",
            "target_url": "http://127.0.0.1:9/",
            "client_certificates": [name(order)],
        }
        for order in ORDERS
    ]
    proxy = {"tls": {"certificate": "gateway"}}
    with run(configured(directory, "", apis=apis, certificates=certificates, proxy=proxy)) as process:
        yield process


@pytest.mark.parametrize("order", ORDERS, ids=name)
def test_positions_are_by_issuer_and_not_by_order(
    process: Process, chain: dict[str, Issued], order: tuple[str, ...]
) -> None:
    found = rows(process, api_id=name(order))
    assert [(row["cert_id"], row["chain_position"], row["chain_index"]) for row in found] == [
        (chain[position].cert_id, position, index) for index, position in enumerate(order)
    ]


@pytest.mark.parametrize("order", ORDERS, ids=name)
def test_the_series_say_the_same(process: Process, order: tuple[str, ...]) -> None:
    found = series(process, "certificate_days_remaining", api_id=name(order))
    positions = {each.labels["chain_index"]: each.labels["chain_position"] for each in found}
    assert positions == {str(index): position for index, position in enumerate(order)}


def test_a_leaf_alone_that_has_signed_itself_is_a_leaf(tmp_path: Path, authority: Authority) -> None:
    authority.issue("127.0.0.1").write(tmp_path, "gateway")
    alone = Authority("alone")
    (tmp_path / "alone.pem").write_bytes(alone.issue("alone", key=alone.root.key).pem)
    certificates = {
        "gateway": {"cert_file": "gateway.pem", "key_file": "gateway.key"},
        "alone": {"cert_file": "alone.pem"},
    }
    api = {"client_certificates": ["alone"]}
    proxy = {"tls": {"certificate": "gateway"}}
    with run(configured(tmp_path, "http://127.0.0.1:9/", api=api, certificates=certificates, proxy=proxy)) as process:
        [row] = rows(process, role="client")
        assert row["chain_position"] == "leaf"
