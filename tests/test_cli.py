"""The command line: what it prints, how it ends, which signals it takes."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from exporter import __version__
from exporter.cli import main
from tests.process import COMMAND, ask, environment, run, upstream

SERVES = 'proxy: {listen: "127.0.0.1:0"}\nadmin: {listen: "127.0.0.1:0"}\n'
API = "  - {{api_id: {0}, listen_path: /{0}/, target_url: 'http://127.0.0.1:{1}/'}}\n"


def certgauge(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *arguments], cwd=directory, env=environment(), text=True, capture_output=True, timeout=30, check=False
    )


def configured(directory: Path, text: str = SERVES) -> Path:
    path = directory / "certgauge.yaml"
    path.write_text(text)
    return path


def errors_in(log: str) -> list[str]:
    return [line for line in log.splitlines() if re.search(r"level=(ERROR|CRITICAL)|Traceback", line)]


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert (ended.value.code, capsys.readouterr().out) == (0, f"certgauge {__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["run"], "the following arguments are required: --config"),
        (["check"], "the following arguments are required: --config"),
        (["serve"], "invalid choice: 'serve'"),
        (["run", "--config", "x", "--log-level", "LOUD"], "invalid choice: 'LOUD'"),
    ],
)
def test_wrong_arguments_are_explained(
    capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_0_and_nothing_to_complain_of(tmp_path: Path, number: signal.Signals) -> None:
    with upstream() as port, run(configured(tmp_path, SERVES + "apis:\n" + API.format("a", port))) as process:
        assert ask("GET", f"{process.proxy_url}/a/x").text == "hello"
        process.stop(number)
        assert errors_in(process.errors) == []


def test_sighup_reloads(tmp_path: Path) -> None:
    with run(configured(tmp_path)) as process:
        # Nothing has changed, so it is not the watching of files that does it.
        process.popen.send_signal(signal.SIGHUP)
        process.await_log('message="configuration reloaded" added="" changed="" removed=""')


@pytest.mark.parametrize("command", ["run", "check"])
def test_a_missing_configuration_is_one_line_and_2(tmp_path: Path, command: str) -> None:
    ended = certgauge(tmp_path, command, "--config", "none.yaml")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "certgauge: none.yaml: cannot be read: No such file or directory\n"


@pytest.mark.parametrize("listener", ["proxy", "admin"])
def test_an_address_that_is_taken_is_one_line_and_2(tmp_path: Path, listener: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        configured(tmp_path, re.sub(rf"({listener}: {{listen: )[^}}]*", rf'\g<1>"{address}"', SERVES))
        ended = certgauge(tmp_path, "run", "--config", "certgauge.yaml")
    message = f"{listener}.listen: cannot listen on {address}: Address already in use"
    assert (ended.returncode, ended.stderr) == (2, f"certgauge: certgauge.yaml: {message}\n")


def test_sighups_before_and_during_the_end_hold_nothing_up(tmp_path: Path) -> None:
    with run(configured(tmp_path)) as process:
        for _ in range(20):
            process.popen.send_signal(signal.SIGHUP)
        process.popen.send_signal(signal.SIGTERM)
        for _ in range(5):
            process.popen.send_signal(signal.SIGHUP)
        assert process.popen.wait(10) == 0
        assert errors_in(process.errors) == []


def test_a_reader_that_goes_away_is_no_reason_for_a_traceback(tmp_path: Path) -> None:
    configured(tmp_path)
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ended = subprocess.run(
            [COMMAND, "check", "--json", "--config", "certgauge.yaml"],
            cwd=tmp_path,
            env=environment(),
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            timeout=30,
            check=False,
        )
    finally:
        os.close(writing)
    assert (ended.returncode, ended.stderr) == (1, "")
