"""One line an event."""

from __future__ import annotations

import logging

import pytest

from exporter.certcheck.certificate import Certificate
from exporter.certcheck.events import EventKind
from exporter.certcheck.slot import Role
from exporter.logs import LogfmtFormatter
from exporter.sinks.process_log import ProcessLogSink
from tests.fakes import NOON
from tests.telemetry.test_event_log import DAY, certificate, event


@pytest.mark.parametrize(
    ("kind", "level"),
    [
        (EventKind.EXPIRING_SOON, logging.WARNING),
        (EventKind.EXPIRED, logging.ERROR),
        (EventKind.RENEWED, logging.INFO),
        (EventKind.INVALID, logging.ERROR),
    ],
)
async def test_an_event_is_one_line_with_its_payload_as_fields(
    kind: EventKind, level: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    announced = event(kind, known=certificate())
    await ProcessLogSink().emit(announced)
    (record,) = caplog.records
    payload = announced.payload()
    assert (record.name, record.levelno, record.getMessage()) == ("certgauge.events", level, payload.pop("message"))
    assert payload.items() <= vars(record).items()


async def test_the_line_is_readable_and_whole(caplog: pytest.LogCaptureFixture) -> None:
    await ProcessLogSink().emit(event(EventKind.EXPIRING_SOON, Role.CA, certificate(11 * DAY)))
    line = LogfmtFormatter().format(caplog.records[0])
    assert 'level=WARNING logger=certgauge.events message="CA certificate will expire in 10 days"' in line
    assert " event=CertificateExpiringSoon event_id=event-1 api_id=orders cert_id=" + "ab" * 32 in line
    assert ' issuer="CN=test CA" ' in line


async def test_a_hostile_name_cannot_forge_a_line(caplog: pytest.LogCaptureFixture) -> None:
    hostile = Certificate("ab" * 32, NOON - DAY, NOON + DAY, common_name='a\nlevel=ERROR message="forged" %s')
    await ProcessLogSink().emit(event(EventKind.EXPIRING_SOON, known=hostile))
    line = LogfmtFormatter().format(caplog.records[0])
    assert len(line.splitlines()) == 1
    assert r'cert_name="a\nlevel=ERROR message=\"forged\" %s"' in line
