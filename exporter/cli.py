"""The command line: `run`, `demo`, `check`. The only place that reads the environment."""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterable, Sequence
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import uvloop

from exporter import __version__, demo, logs
from exporter.app import Running, running, utc_now
from exporter.certcheck.expiry import State
from exporter.certcheck.slot import Role
from exporter.certificates.contents import UnusableError
from exporter.check import READ, SERVED, Report, as_json, examine, table
from exporter.places import ROLES, Question
from exporter.preflight import Preflight
from exporter.preflight_report import exit_status, places_of, reading_files
from exporter.preflight_report import table as trial_table
from exporter.problems import ConfigError, Problem
from exporter.proxy.core import CoreFactory
from exporter.remote import Remote
from exporter.settings import Settings, read_settings
from exporter.state.place import Place, state_of
from exporter.state_files import secret
from exporter.telemetry.environment import Otlp, read_otlp, unsupported
from exporter.terminal import Progress, Screen

CORES = "certgauge.proxy_cores"
"""The entry-point group in which proxy cores are registered."""

_WRONG = 2
_ADMIN_URL = "http://127.0.0.1:9464"
_FILTERS = ("api_id", "role", "state", "expiring_within_days")
# Requests in flight are young objects that go by themselves. By default, a hundred of them make the collector look for
# garbage again and again: 5 % of the CPU at 128 connections.
_COLLECTOR = (20_000, 20, 50)
# How long a thread that renders or reads may keep the interpreter while the event loop waits for it; by default 5 ms.
_TURN_SECONDS = 0.0005


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the result is its exit status."""
    options = _parser().parse_args(arguments)
    try:
        status = int(options.run(options))
        sys.stdout.flush()
    except ConfigError as exc:
        for problem in exc.problems:
            print(f"certgauge: {problem}", file=sys.stderr)
        return _WRONG
    except BrokenPipeError:
        # Whoever read what is printed has gone. The interpreter flushes once more at its end, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("certgauge", description="A reverse proxy that knows every certificate it uses.")
    parser.add_argument("--version", action="version", version=f"certgauge {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="serve a configuration")
    run.add_argument("--config", type=Path, required=True, metavar="FILE")
    run.add_argument("--log-level", choices=("DEBUG", "INFO", "WARNING", "ERROR"), default="INFO")
    run.set_defaults(run=_run)
    check = commands.add_parser("check", help="validate a configuration and show its certificates")
    check.add_argument("--config", type=Path, required=True, metavar="FILE")
    check.add_argument("--json", action="store_true", help="print a JSON document instead of a table")
    trial = check.add_argument_group("a certificate that is not in use", "would it work, and until when?")
    trial.add_argument("--certificate", type=Path, metavar="FILE", help="PEM, DER or PKCS#12; all others need it")
    trial.add_argument("--key", type=Path, metavar="FILE", help="its private key, if that is not in the same file")
    trial.add_argument("--passphrase-file", type=Path, metavar="FILE", help="whose first line opens the key")
    trial.add_argument("--api-id", metavar="ID", help="ask about this API alone")
    trial.add_argument("--role", choices=[role.value for role in ROLES], help="ask about this role alone")
    trial.add_argument("--rehearse", action="store_true", help="make a handshake with each upstream; sends no request")
    check.set_defaults(run=_check, fail=check.error)
    certs = commands.add_parser("certs", help="show the certificates of a certgauge that runs")
    certs.add_argument("--url", default=_ADMIN_URL, help=f"of its admin listener; {_ADMIN_URL} unless given")
    certs.add_argument("--token-file", type=Path, metavar="FILE", help="with its bearer token")
    certs.add_argument("--ca-file", type=Path, metavar="FILE", help="what verifies it; else the system's trust store")
    certs.add_argument("--api-id", metavar="ID", help="those of this API alone")
    certs.add_argument("--role", choices=[role.value for role in Role])
    certs.add_argument("--state", choices=[state.value for state in State])
    certs.add_argument("--expiring-within-days", type=int, metavar="DAYS")
    certs.add_argument("--json", action="store_true", help="print the rows of /certs instead of a table")
    certs.set_defaults(run=_certs)
    show = commands.add_parser("demo", help="everything on one machine, nothing to prepare")
    show.set_defaults(run=_demo)
    return parser


def _run(options: argparse.Namespace) -> int:
    logs.configure(options.log_level)
    read = _reader(options.config)
    settings = read()
    telemetry = _telemetry()
    gc.set_threshold(*_COLLECTOR)
    sys.setswitchinterval(_TURN_SECONDS)
    place = state_of(settings.configuration.state, os.environ, options.config)
    _on_loop(_serve(settings, read, telemetry, place))
    return 0


async def _serve(settings: Settings, read: Callable[[], Settings], telemetry: Otlp, place: Place) -> None:
    stop = asyncio.Event()
    _on_signals(stop)
    async with (
        running(
            settings, read, core=_core(settings.configuration.proxy.core), telemetry=telemetry, place=place
        ) as serves,
        asyncio.TaskGroup() as tasks,
    ):
        # What has been loaded stays, and is in no cycles: a walk over it would hold up every request for 200 ms.
        gc.freeze()
        print(f"proxy {serves.proxy_url}", f"admin {serves.admin_url}", sep="\n", flush=True)
        wanted = asyncio.Event()
        tasks.create_task(_reloads(serves, wanted, stop), name="reload")
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, wanted.set)
        await stop.wait()
        wanted.set()


async def _reloads(serves: Running, wanted: asyncio.Event, stop: asyncio.Event) -> None:
    """Reload when asked to, one at a time; however often that was, once more is enough."""
    while await wanted.wait() and not stop.is_set():
        wanted.clear()
        await serves.reload()


def _check(options: argparse.Namespace) -> int:
    if options.certificate is not None:
        return _try(options)
    if any((options.key, options.passphrase_file, options.api_id, options.role, options.rehearse)):
        options.fail("--key, --passphrase-file, --api-id, --role and --rehearse need --certificate")
    try:
        settings = _reader(options.config)()
        _telemetry()
        with Progress(sys.stderr) as progress:
            report = examine(settings, utc_now(), progress.tell)
    except ConfigError as exc:
        report = Report([], exc.problems, ())
    if options.json:
        print(json.dumps(as_json(report), indent=2))
        return report.exit_status
    _print_table(table(report.rows, READ, _screen()))
    for problem in (*report.problems, *report.warnings):
        print(f"certgauge: {problem}", file=sys.stderr)
    return report.exit_status


def _certs(options: argparse.Namespace) -> int:
    token = _token(options.token_file) if options.token_file else None
    filters = {name: str(value) for name in _FILTERS if (value := getattr(options, name)) is not None}
    with Progress(sys.stderr) as progress:
        rows = Remote(options.url, token, options.ca_file).certificates(filters, progress.tell)
    if options.json:
        print(json.dumps({"certs": rows}, indent=2))
    else:
        _print_table(table(rows, SERVED, _screen()))
    return 0


def _token(path: Path) -> str:
    try:
        return secret(path.read_bytes(), "token").decode("ascii")
    except OSError as exc:
        raise ConfigError([Problem("--token-file", "", f"cannot be read: {exc.strerror}")]) from None
    except ValueError as exc:
        raise ConfigError([Problem("--token-file", "", str(exc))]) from None


def _screen() -> Screen:
    return Screen.of(sys.stdout, os.environ)


def _print_table(lines: Iterable[str]) -> None:
    for line in lines:
        print(line)


def _try(options: argparse.Namespace) -> int:
    question = Question(options.api_id, Role(options.role) if options.role else None, options.rehearse)
    every = places_of(_reader(options.config)(), question)
    read = reading_files(options.certificate, options.key, options.passphrase_file)
    try:
        answer = asyncio.run(Preflight().answer(read, every, question, utc_now()))
    except UnusableError as exc:
        raise ConfigError([Problem(str(options.certificate), "", str(exc))]) from None
    print(json.dumps(answer.document(), indent=2) if options.json else "\n".join(trial_table(answer)))
    return exit_status(answer)


def _demo(_options: argparse.Namespace) -> int:
    logs.configure("WARNING")
    # The demo prints them itself.
    logging.getLogger("certgauge.events").disabled = True
    _on_loop(_show(_telemetry()))
    return 0


async def _show(telemetry: Otlp) -> None:
    stop = asyncio.Event()
    _on_signals(stop)
    await demo.run(stop, _core("httptools"), telemetry)


def _on_loop(main: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)


def _on_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # Until there is something to reload: by default it would end the process.
    loop.add_signal_handler(signal.SIGHUP, lambda: None)


def _reader(path: Path) -> Callable[[], Settings]:
    return partial(read_settings, path, dict(os.environ), [each.name for each in entry_points(group=CORES)])


def _core(name: str) -> CoreFactory:
    [found] = entry_points(group=CORES, name=name)
    factory: CoreFactory = found.load()
    return factory


def _telemetry() -> Otlp:
    # OpenTelemetry's specification takes an empty variable for one that is not set; its library does not.
    for name in [name for name, value in os.environ.items() if name.startswith("OTEL_") and not value.strip()]:
        del os.environ[name]
    for problem in unsupported(os.environ):
        print(f"certgauge: {problem}", file=sys.stderr)
    return read_otlp(os.environ)
