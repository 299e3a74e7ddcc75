"""What the boards say of a certgauge with which nothing is wrong, and of one that has gone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.authority import DAY, Authority
from tests.dashboards.world import board, queries, substitute
from tests.process import Process, run, upstream
from tests.prometheus import Prometheus, prometheus

OVERVIEW = queries(board("certgauge-overview"))
API = queries(board("certgauge-api"))

VERDICTS = ("Expired now", "Expiring", "Cannot be used", "Is anybody told?", "Can I trust this?")
MAY_BE_EMPTY = {
    # Tables that say in words that there is nothing, or a name for which there is none.
    "What else is wrong",
    "Who was told",
    # Nobody has asked for anything.
    "Last used, ago",
    "Each hop's certificates (the first 50 to expire)",
    "How long calls take",
    "Days left, by whose certificate",
}


@dataclass(frozen=True)
class Quiet:
    """One API, one certificate with a hundred days, no request yet."""

    process: Process
    asked: Prometheus

    def value(self, title: str) -> float:
        """What the first query of a panel gives."""
        expression = next(each for panel, each in [*OVERVIEW, *API] if panel == title)
        (found,) = self.asked.query(substitute(expression))
        return float(found["value"][1])


@pytest.fixture
def quiet(tmp_path: Path) -> Iterator[Quiet]:
    certificate, key = Authority().issue("orders", 100 * DAY).write(tmp_path, "orders")
    with upstream() as port:
        api = {"api_id": "orders", "listen_path": "/orders/", "target_url": f"https://localhost:{port}/"}
        document = {
            "proxy": {"listen": "127.0.0.1:0"},
            "admin": {"listen": "127.0.0.1:0"},
            "certificates": {"orders": {"cert_file": certificate, "key_file": key}},
            "apis": [{**api, "upstream_certificates": {"*": "orders"}}],
        }
        config = tmp_path / "certgauge.yaml"
        config.write_text(yaml.safe_dump(document))
        with run(config) as process, prometheus(tmp_path, process.admin_url.removeprefix("http://")) as server:
            server.wait("certificate_state", series=1, seconds=20)
            yield Quiet(process, server)


def test_where_nothing_is_wrong_each_verdict_is_0_rather_than_nothing(quiet: Quiet) -> None:
    assert {title: quiet.value(title) for title in VERDICTS} == dict.fromkeys(VERDICTS, 0)
    assert quiet.value("Calls that failed") == 0
    assert quiet.value("Worst state") == 1
    silent = {title for title, each in [*OVERVIEW, *API] if not quiet.asked.query(substitute(each))}
    assert silent <= MAY_BE_EMPTY


def test_a_certgauge_that_has_gone_is_said_to_be_silent(quiet: Quiet) -> None:
    quiet.process.stop()
    quiet.asked.wait("up == 0", series=1, seconds=20)
    assert quiet.value("Can I trust this?") == 4
    assert quiet.value("Each certgauge") == 0
