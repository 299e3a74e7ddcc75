"""`certgauge certs`: the table of a process that serves, and its rows for scripts."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.cli import main
from exporter.listener import bind
from tests.authority import DAY
from tests.process import COMMAND, Process, environment, run
from tests.telemetry.kit import EXPIRED, EXPIRING, Site

TOKEN = "canary-token"


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """One with a token, two APIs and their certificates."""
    site = Site(tmp_path_factory.mktemp("certs")).standard()
    (site.directory / "token").write_text(TOKEN)
    site.document["admin"]["token_file"] = "token"
    with run(site.write()) as serves:
        yield serves


def lines(process: Process, capsys: pytest.CaptureFixture[str], *more: str, status: int = 0) -> list[str]:
    token = process.log.parent / "token"
    assert main(["certs", "--url", process.admin_url, "--token-file", str(token), *more]) == status
    written = capsys.readouterr()
    assert TOKEN not in written.out + written.err
    return (written.err if status else written.out).splitlines()


def test_certificates_are_shown_soonest_to_expire_first(process: Process, capsys: pytest.CaptureFixture[str]) -> None:
    titles, expired, expiring = lines(process, capsys)
    assert titles.split() == ["STATE", "DAYS", "EXPIRES", "API", "ROLE", "NAME", "REQUESTS/H", "SERVER", "REF"]
    assert expired.split()[:2] == ["expired", "-6"]
    assert f"{EXPIRED}-client" in expired
    assert expiring.split()[:2] == ["expiring", "10"]
    assert "\033" not in titles + expired + expiring


def test_filters_are_those_of_the_endpoint(process: Process, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(lines(process, capsys, "--api-id", EXPIRING)) == 2
    assert len(lines(process, capsys, "--role", "upstream", "--state", "expired")) == 2
    assert len(lines(process, capsys, "--expiring-within-days", "20")) == 3
    assert lines(process, capsys, "--role", "server") == []


def test_rows_for_scripts_are_those_of_the_endpoint(process: Process, capsys: pytest.CaptureFixture[str]) -> None:
    rows = json.loads("\n".join(lines(process, capsys, "--json")))["certs"]
    assert [(row["api_id"], row["state"]) for row in rows] == [(EXPIRED, "expired"), (EXPIRING, "expiring")]


def test_a_terminal_has_colour_and_lines_that_fit(process: Process) -> None:
    ours, theirs = pty.openpty()
    token = process.log.parent / "token"
    command = [str(COMMAND), "certs", "--url", process.admin_url, "--token-file", str(token)]
    more = {"TERM": "xterm", "COLUMNS": "60", "NO_COLOR": ""}
    subprocess.run(command, stdout=theirs, stderr=theirs, env=environment(more), check=True)
    os.close(theirs)
    written = os.read(ours, 65536).decode()
    os.close(ours)
    assert "\033[1;31mexpired\033[0m" in written
    plain = re.sub(r"\033\[[\d;]*m", "", written)
    assert max(map(len, plain.splitlines())) <= 60


def test_more_certificates_than_a_page_has_are_all_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site = Site(tmp_path)
    bundle = b"".join(site.authority.issue(f"n{number}", DAY).pem for number in range(1200))
    (tmp_path / "bundle.pem").write_bytes(bundle)
    site.document["watch"] = ["bundle.pem"]
    with run(site.write()) as process:
        assert main(["certs", "--url", process.admin_url, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["certs"]) == 1200


def test_without_its_token_it_says_what_is_missing(process: Process, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["certs", "--url", process.admin_url]) == 2
    assert capsys.readouterr().err == f"certgauge: {process.admin_url}: wants a token; give it with --token-file\n"


def test_what_it_refuses_is_shown_in_its_words(process: Process, capsys: pytest.CaptureFixture[str]) -> None:
    [error] = lines(process, capsys, "--expiring-within-days", "-1", status=2)
    assert (
        error
        == f"certgauge: {process.admin_url}: answered 400: expiring_within_days must be a whole number from 0 to 36500"
    )


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://user:canary@127.0.0.1/", "--url: must not carry credentials; use --token-file"),
        ("ftp://127.0.0.1/", "--url: must be an http:// or https:// URL of the admin listener"),
        ("127.0.0.1:9464", "--url: must be an http:// or https:// URL of the admin listener"),
        ("http://127.0.0.1/?token=canary", "--url: must be an http:// or https:// URL of the admin listener"),
        ("http://[::1", "--url: must be an http:// or https:// URL of the admin listener"),
        ("http://127.0.0.1:x/", "--url: must be an http:// or https:// URL of the admin listener"),
    ],
)
def test_a_wrong_url_is_refused_and_not_repeated(url: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["certs", "--url", url]) == 2
    assert capsys.readouterr().err == f"certgauge: {message}\n"


def test_where_nobody_listens_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with bind("127.0.0.1:0") as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    assert main(["certs", "--url", url]) == 2
    assert capsys.readouterr().err == f"certgauge: {url}: cannot be asked: Connection refused\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file or directory"),
        ("", "names a file without a token: one line of visible ASCII characters"),
        ("a b", "names a file without a token: one line of visible ASCII characters"),
    ],
)
def test_a_token_file_without_a_token_is_refused(
    content: str | None, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / "token").write_text(content)
    assert main(["certs", "--token-file", str(tmp_path / "token")]) == 2
    assert capsys.readouterr().err == f"certgauge: --token-file: {message}\n"
