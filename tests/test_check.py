"""`certgauge check`: what it prints, and the status it ends with."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from exporter.certcheck.text import rfc3339
from exporter.cli import main
from tests.authority import DAY, Authority
from tests.served import configuration, definition, write

HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def configure(directory: Path, authority: Authority, *left: timedelta, **more: Any) -> None:
    """An API for each certificate with so much left: `a0`, `a1`, …"""
    names = [f"a{index}" for index in range(len(left))]
    for name, each in zip(names, left, strict=True):
        authority.issue(name, each + HOUR).write(directory, name)
    apis = [definition(name, upstream_certificates={"*": name}) for name in names]
    certificates = {name: {"cert_file": f"{name}.pem", "key_file": f"{name}.key"} for name in names}
    write(directory, "certgauge.yaml", configuration(**{"certificates": certificates, "apis": apis, **more}))


def check(*arguments: str) -> int:
    return main(["check", "--config", "certgauge.yaml", *arguments])


@pytest.mark.parametrize(
    ("left", "status"),
    [
        ((), 0),
        ((100 * DAY,), 0),
        ((31 * DAY,), 0),
        ((29 * DAY,), 1),
        ((100 * DAY, 5 * DAY), 1),
        ((-1 * DAY,), 3),
        ((100 * DAY, 5 * DAY, -1 * DAY), 3),
    ],
)
def test_the_status_is_that_of_the_worst_certificate(
    directory: Path, authority: Authority, left: tuple[timedelta, ...], status: int
) -> None:
    configure(directory, authority, *left)
    assert check() == status


def test_each_api_is_judged_by_its_own_threshold(directory: Path, authority: Authority) -> None:
    own = definition(upstream_certificates={"*": "a0"}, certificate_expiry_monitor={"warning_threshold_days": 90})
    configure(directory, authority, 60 * DAY, apis=[own])
    assert check() == 1


def test_what_is_unusable_is_worse_than_what_has_expired(directory: Path, authority: Authority) -> None:
    configure(directory, authority, -1 * DAY, 100 * DAY)
    (directory / "a1.key").unlink()
    assert check() == 2


def test_what_nothing_refers_to_is_not_looked_at(directory: Path, authority: Authority) -> None:
    configure(directory, authority, 100 * DAY, certificates={"a0": {"cert_file": "none.pem"}}, apis=[])
    assert check() == 0


def test_the_table_has_a_row_for_each_slot_soonest_first(
    directory: Path, authority: Authority, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(directory, authority, 100 * DAY, -2 * DAY, 5 * DAY)
    check()
    lines = capsys.readouterr().out.splitlines()
    at = {left: rfc3339(authority.now + left * DAY + HOUR) for left in (100, -2, 5)}
    assert lines == [
        "STATE     DAYS  EXPIRES               API  ROLE      REF  NAME  WHY",
        f"expired   -2    {at[-2]}  a1   upstream  a1   a1    -",
        f"expiring  5     {at[5]}  a2   upstream  a2   a2    -",
        f"valid     100   {at[100]}  a0   upstream  a0   a0    -",
    ]


def test_the_table_tells_why_something_is_unusable(
    directory: Path, authority: Authority, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(directory, authority, 100 * DAY)
    (directory / "a0.pem").unlink()
    check()
    output = capsys.readouterr()
    assert output.out.splitlines()[1].split(maxsplit=7)[-1] == "a0.pem: no such file"
    assert output.err == "certgauge: certgauge.yaml: apis[0]: certificate 'a0': a0.pem: no such file\n"


def test_warnings_are_told_and_change_no_status(
    directory: Path, authority: Authority, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(directory, authority, 100 * DAY, apis=[definition(target="http://a/", upstream_certificates={"*": "a0"})])
    assert check() == 0
    message = "is never used: target_url is not https"
    assert capsys.readouterr().err == f"certgauge: certgauge.yaml: apis[0].upstream_certificates: {message}\n"


def test_json_holds_the_same(directory: Path, authority: Authority, capsys: pytest.CaptureFixture[str]) -> None:
    configure(directory, authority, 5 * DAY, 100 * DAY)
    (directory / "a1.key").unlink()
    assert check("--json") == 2
    output = capsys.readouterr()
    document = json.loads(output.out)
    assert output.err == ""
    assert [(each["api_id"], each["state"], each.get("reason")) for each in document["certs"]] == [
        ("a0", "expiring", None),
        ("a1", "unreadable", "missing"),
    ]
    assert document["certs"][0]["expires_at"] == rfc3339(authority.now + 5 * DAY + HOUR)
    assert document["problems"] == [
        {"file": "certgauge.yaml", "path": "apis[1]", "message": "certificate 'a1': a1.key: no such file"}
    ]
    assert document["warnings"] == []


def test_listeners_certificates_are_among_them(
    directory: Path, authority: Authority, capsys: pytest.CaptureFixture[str]
) -> None:
    tls = {"listen": "127.0.0.1:0", "tls": {"certificate": "a0"}}
    configure(directory, authority, 5 * DAY, apis=[], proxy=tls, admin=tls)
    assert check("--json") == 1
    [row] = json.loads(capsys.readouterr().out)["certs"]
    assert (row["cert_role"], row["cert_ref"], row.get("api_id")) == ("server", "a0", None)


@pytest.mark.parametrize(("left", "status"), [(100 * DAY, 0), (5 * DAY, 1), (-1 * DAY, 3)])
def test_watched_certificates_are_among_them(
    directory: Path, authority: Authority, capsys: pytest.CaptureFixture[str], left: timedelta, status: int
) -> None:
    configure(directory, authority, apis=[], watch=[{"files": "w*.pem", "role": "client"}])
    authority.issue("w", left + HOUR).write(directory, "w")
    assert check("--json") == status
    [row] = json.loads(capsys.readouterr().out)["certs"]
    assert (row["cert_role"], row["cert_ref"], row.get("api_id")) == ("client", str(directory / "w.pem"), None)


def test_a_watched_file_that_is_named_and_missing_is_unusable_and_an_empty_glob_is_warned_of(
    directory: Path, authority: Authority, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(directory, authority, apis=[], watch=["none/*.pem"])
    assert check() == 0
    assert capsys.readouterr().err == "certgauge: certgauge.yaml: watch[0]: matches no file\n"
    configure(directory, authority, apis=[], watch=["none.pem"])
    assert check() == 2
    assert capsys.readouterr().out.splitlines()[1].endswith("none.pem: no such file")


def test_json_holds_what_is_wrong_with_a_configuration(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (directory / "certgauge.yaml").write_text("proxi: {}\n")
    assert check("--json") == 2
    output = capsys.readouterr()
    message = "is not a known key; did you mean 'proxy'?"
    problems = [{"file": "certgauge.yaml", "path": "proxi", "message": message}]
    assert json.loads(output.out) == {"certs": [], "problems": problems, "warnings": []}
    assert output.err == ""
