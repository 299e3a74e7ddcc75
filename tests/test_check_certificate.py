"""`certgauge check --certificate`: a certificate held against a configuration, offline."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from exporter.cli import main
from tests.authority import DAY, Authority, Issued
from tests.process import demanding, upstream
from tests.served import configuration, definition, write

PASSPHRASE = b"canary-passphrase"
HOUR = timedelta(hours=1)
AUTHORITY = Authority()


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    AUTHORITY.issue("orders-client").write(tmp_path, "orders")
    (tmp_path / "ca.pem").write_bytes(AUTHORITY.root.pem)
    configure(tmp_path)
    return tmp_path


def configure(directory: Path, *apis: dict[str, Any]) -> None:
    pairs = {f"{name}-client": {"cert_file": f"{name}.pem", "key_file": f"{name}.key"} for name in ("orders", "other")}
    certificates = pairs | {"ca": {"cert_file": "ca.pem"}}
    one = definition(upstream_certificates={"*": "orders-client"}, upstream_ca="ca")
    write(directory, "certgauge.yaml", configuration(certificates=certificates, apis=[*apis] or [one]))


def check(issued: Issued, *arguments: str, key: bytes | None = None) -> int:
    issued.write(Path(), "new")
    if key is not None:
        Path("new.key").write_bytes(key)
    return main(["check", "--config", "certgauge.yaml", "--certificate", "new.pem", "--key", "new.key", *arguments])


@pytest.mark.parametrize(
    ("left", "status"), [(100 * DAY, 0), (30 * DAY + HOUR, 0), (30 * DAY - HOUR, 1), (HOUR, 1), (-HOUR, 3)]
)
def test_the_status_says_whether_it_works_and_for_how_long(directory: Path, left: timedelta, status: int) -> None:
    assert check(AUTHORITY.issue("orders-client", left)) == status


def test_only_where_it_works_counts_when_it_expires(directory: Path) -> None:
    Authority("strange CA").issue("other").write(directory, "other")
    watchful: dict[str, Any] = {"certificate_expiry_monitor": {"warning_threshold_days": 365}}
    other = definition("other", upstream_certificates={"*": "other-client"}, upstream_ca="ca", **watchful)
    configure(directory, definition(upstream_certificates={"*": "orders-client"}, upstream_ca="ca"), other)
    assert check(AUTHORITY.issue("orders-client"), "--api-id", "other") == 2
    assert check(AUTHORITY.issue("orders-client")) == 0


def test_what_would_not_work_somewhere_is_an_error(directory: Path) -> None:
    assert check(AUTHORITY.issue("orders.internal"), "--role", "upstream_server") == 0
    assert check(AUTHORITY.issue("elsewhere"), "--role", "upstream_server") == 2
    assert check(AUTHORITY.issue("orders"), key=AUTHORITY.issue("orders").key_pem()) == 2


def test_what_cannot_be_told_to_work_anywhere_is_an_error(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(Authority("strange CA").issue("orders")) == 2
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    assert check(AUTHORITY.issue("nowhere", extensions=[usage])) == 2
    assert capsys.readouterr().out.endswith("there is no place that it is meant for\n")


def test_the_table_has_a_row_for_each_place(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check(AUTHORITY.issue("orders.internal", 20 * DAY + HOUR), key=AUTHORITY.issue("x").key_pem())
    title, *rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert title == ["WORKS", "DAYS", "UNTIL", "API", "ROLE", "SERVER", "WHY"]
    assert [row[0:3] + row[4:7] for row in rows] == [
        ["no", "20", "(soon)", "orders", "upstream", "orders.internal:8443"],
        ["no", "20", "(soon)", "orders", "upstream_server", "orders.internal:8443"],
    ]
    assert " ".join(rows[0][7:]) == "key: the private key is not that of the certificate"


def test_the_document_is_that_of_the_admin_listener(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    issued = AUTHORITY.issue("orders-client")
    assert check(issued, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["certificate"]["cert_id"] == issued.cert_id
    assert [(row["api_id"], row["cert_role"], row["works"]) for row in document["places"]] == [
        ("orders", "upstream", True)
    ]


def test_an_encrypted_key_is_opened_with_the_passphrase_files_first_line(directory: Path) -> None:
    issued = AUTHORITY.issue("orders-client")
    (directory / "passphrase").write_bytes(PASSPHRASE + b"\nanother line\n")
    assert check(issued, "--passphrase-file", "passphrase", key=issued.key_pem(PASSPHRASE)) == 0


def test_an_api_can_be_asked_about_alone(directory: Path) -> None:
    other = definition("other", "https://other.internal/", upstream_certificates={"*": "orders-client"})
    configure(directory, definition(upstream_certificates={"*": "orders-client"}, upstream_ca="ca"), other)
    assert check(AUTHORITY.issue("orders.internal"), "--role", "upstream_server") == 2
    assert check(AUTHORITY.issue("orders.internal"), "--role", "upstream_server", "--api-id", "orders") == 0


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--certificate", "none.pem"], "certgauge: none.pem: no such file\n"),
        (["--certificate", "orders.pem", "--key", "none.key"], "certgauge: none.key: no such file\n"),
        (["--certificate", "certgauge.yaml"], "certgauge: certgauge.yaml: has no certificate, in any known form\n"),
        (
            ["--certificate", "orders.pem", "--api-id", "none"],
            "certgauge: certgauge.yaml: apis: no API has the id 'none'\n",
        ),
    ],
)
def test_what_is_wrong_is_explained(
    directory: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    assert main(["check", "--config", "certgauge.yaml", *arguments]) == 2
    assert capsys.readouterr() == ("", complaint)


def test_a_wrong_configuration_is_explained(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(directory, "certgauge.yaml", {"proxi": {}})
    assert main(["check", "--config", "certgauge.yaml", "--certificate", "orders.pem"]) == 2
    assert "proxi" in capsys.readouterr().err


def test_the_options_of_a_certificate_need_one(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["check", "--config", "certgauge.yaml", "--rehearse"])
    assert ended.value.code == 2
    assert "need --certificate" in capsys.readouterr().err


@pytest.mark.parametrize(("trusts", "status"), [(Authority("strange CA"), 0), (AUTHORITY, 2)])
def test_a_rehearsal_settles_what_is_unknown(directory: Path, trusts: Authority, status: int) -> None:
    candidate = Authority("strange CA") if trusts is AUTHORITY else trusts
    context = demanding(directory, AUTHORITY)
    context.load_verify_locations(cadata=trusts.root.der)
    with upstream(context) as port:
        target = f"https://localhost:{port}/"
        configure(directory, definition(target=target, upstream_certificates={"*": "orders-client"}, upstream_ca="ca"))
        assert check(candidate.issue("orders-client"), "--role", "upstream", "--rehearse") == status


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_no_secret_is_printed(directory: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    issued = AUTHORITY.issue("orders-client")
    (directory / "passphrase").write_bytes(PASSPHRASE)
    (directory / "wrong").write_bytes(PASSPHRASE + b"-other")
    key = issued.key_pem(PASSPHRASE)
    assert check(issued, "--passphrase-file", "passphrase", *arguments, key=key) == 0
    assert check(issued, "--passphrase-file", "wrong", *arguments, key=key) == 2
    output = capsys.readouterr()
    everything = output.out + output.err
    assert "the passphrase does not open it" in output.err
    assert not any(secret in everything for secret in ("canary", "PRIVATE", key.decode().splitlines()[1]))
