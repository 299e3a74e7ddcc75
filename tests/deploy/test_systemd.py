"""systemd takes the unit, and certgauge does without what the unit forbids."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.authority import Authority
from tests.deploy.test_kubernetes import LAST_SECONDS
from tests.foreground import require
from tests.process import COMMAND, ask, demanding, run, upstream, wait_until

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "deploy" / "systemd" / "certgauge.service"
# Tenths of the exposure that systemd computes: 0 is a service that may do nothing, 100 one that may do all.
EXPOSURE = 15
DENY_WRITE_EXECUTE = 65  # PR_SET_MDWE, since Linux 6.3: what MemoryDenyWriteExecute= asks for.
REFUSE_GAIN = 1


def systemd_analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = require("systemd-analyze", "systemd")
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False)


def settings() -> dict[str, list[str]]:
    """The values of each key of the unit's service, in their order."""
    found: dict[str, list[str]] = {}
    section = UNIT.read_text("utf-8").split("[Service]\n", 1)[1].split("\n[", 1)[0]
    for key, value in re.findall(r"^(\w+)=(.*)$", section, re.MULTILINE):
        found.setdefault(key, []).append(value)
    return found


def calls_of(group: str, sets: dict[str, set[str]]) -> set[str]:
    return {call for each in sets[group] for call in (calls_of(each, sets) if each.startswith("@") else {each})}


def allowed_calls() -> set[str]:
    """The system calls that are left by the unit's filters."""
    sets: dict[str, set[str]] = {}
    name = ""
    for line in systemd_analyze("syscall-filter").stdout.splitlines():
        if line.startswith("@"):
            name = line
            sets[name] = set()
        elif line.startswith("    ") and not line.strip().startswith("#"):
            sets[name].add(line.strip())
    allow, deny = settings()["SystemCallFilter"]
    allowed = set[str]().union(*(calls_of(group, sets) for group in allow.split()))
    return allowed.difference(*(calls_of(group, sets) for group in deny.removeprefix("~").split()))


def write(directory: Path, port: int, authority: Authority) -> Path:
    """A configuration as the unit has it: a token that is a credential, TLS in and out."""
    (directory / "admin.token").write_text("not-guessed\n")
    for name in ("gateway", "client"):
        authority.issue(name).write(directory, name)
    api = {
        "api_id": "orders",
        "listen_path": "/orders/",
        "target_url": f"https://localhost:{port}/",
        "upstream_certificates": {"*": "client"},
        "upstream_ca": "anchors",
    }
    config = directory / "certgauge.yaml"
    config.write_text(
        yaml.safe_dump(
            {
                "proxy": {"listen": "127.0.0.1:0"},
                "admin": {"listen": "127.0.0.1:0", "token_file": "${CREDENTIALS_DIRECTORY}/admin.token"},
                "certificates": {
                    "client": {"cert_file": "client.pem", "key_file": "client.key"},
                    "anchors": {"cert_file": "anchors.pem"},
                },
                "apis": [api],
            }
        )
    )
    return config


def serve(directory: Path, *through: str) -> str:
    """Start it as the unit does, use it, reload it, and end it; what it has logged."""
    authority = Authority()
    state = directory / "state"
    state.mkdir()
    more = {"CREDENTIALS_DIRECTORY": str(directory), "STATE_DIRECTORY": str(state)}
    with (
        upstream(demanding(directory, authority)) as port,
        run(write(directory, port, authority), more=more, through=through) as process,
    ):
        assert ask("GET", f"{process.proxy_url}/orders/").text == "hello"
        assert ask("GET", f"{process.admin_url}/certs").status == 401
        process.popen.send_signal(signal.SIGHUP)
        process.await_log("reload")
        tracer = status(process.popen.pid, "TracerPid")
    assert (state / "certgauge.state.sqlite3").exists()
    # It has written everything down when it has ended itself; nobody may be there to ask how.
    wait_until(lambda: status(int(tracer), "State")[:1] in {"", "Z"})
    return process.errors


def status(number: int, field: str) -> str:
    """What Linux tells of a process in a field; empty where there is no such process."""
    try:
        told = Path(f"/proc/{number}/status").read_text("utf-8")
    except FileNotFoundError:
        return ""
    return next(line.partition("\t")[2] for line in told.splitlines() if line.startswith(f"{field}:"))


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    installed = UNIT.read_text("utf-8").replace("/opt/certgauge/bin/certgauge", str(COMMAND))
    (tmp_path / UNIT.name).write_text(installed)
    verified = systemd_analyze("verify", str(tmp_path / UNIT.name))
    assert (verified.returncode, verified.stderr) == (0, "")


def test_the_unit_exposes_little() -> None:
    judged = systemd_analyze("security", "--offline=true", f"--threshold={EXPOSURE}", str(UNIT))
    assert judged.returncode == 0, judged.stdout[-200:] + judged.stderr


def test_the_unit_runs_what_the_command_line_has() -> None:
    [started] = settings()["ExecStart"]
    program, command, option, _ = started.split()
    assert Path(program).name == "certgauge"
    helped = subprocess.run([COMMAND, command, "--help"], capture_output=True, text=True, check=True)
    assert option in helped.stdout


def test_a_wrong_configuration_is_not_tried_again(tmp_path: Path) -> None:
    (tmp_path / "certgauge.yaml").write_text("nonsense: true\n")
    ended = subprocess.run([COMMAND, "run", "--config", tmp_path / "certgauge.yaml"], capture_output=True, check=False)
    assert settings()["RestartPreventExitStatus"] == [str(ended.returncode)]
    assert settings()["Restart"] == ["on-failure"]


def test_there_is_time_to_drain_before_the_end() -> None:
    drain = 30  # docs/configuration.md: the default
    assert f"drain_timeout_seconds ({drain})" in UNIT.read_text("utf-8")
    assert int(settings()["TimeoutStopSec"][0]) >= drain + LAST_SECONDS


def test_the_user_of_the_unit_is_made() -> None:
    lines = (UNIT.parent / "certgauge.sysusers").read_text("utf-8").splitlines()
    [user] = [line.split()[1] for line in lines if line.startswith("u ")]
    assert [settings()[key] for key in ("User", "Group", "StateDirectory")] == [[user]] * 3


def test_it_uses_no_system_call_that_is_filtered(tmp_path: Path) -> None:
    strace = require("strace", "strace")
    allowed = allowed_calls()
    # -D: the traced process is the one that was started, so signals reach it.
    errors = serve(tmp_path, strace, "-D", "-f", "-q", "-s", "0", "-o", str(tmp_path / "calls"))
    used = set(re.findall(r"^\d+ +(\w+)\(", (tmp_path / "calls").read_text("utf-8"), re.MULTILINE))
    assert {"execve", "memfd_create", "accept4", "pwrite64"} <= used, errors
    # SQLite calls it as root alone, which the unit's user is not.
    as_root = {"fchown"} if os.geteuid() == 0 else set()
    assert used - allowed - as_root == set()


def test_it_needs_no_memory_that_is_written_and_executed(tmp_path: Path) -> None:
    ask_kernel = f"import ctypes, os, sys; r = ctypes.CDLL(None).prctl({DENY_WRITE_EXECUTE}, {REFUSE_GAIN}, 0, 0, 0)"
    tried = subprocess.run([sys.executable, "-c", f"{ask_kernel}; sys.exit(r != 0)"], check=False)
    if tried.returncode:
        pytest.skip("this kernel cannot deny memory that is written and executed (Linux 6.3 or newer can)")
    serve(tmp_path, sys.executable, "-c", f"{ask_kernel}; os.execv(sys.argv[1], sys.argv[1:])")
