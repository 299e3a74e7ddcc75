"""A configuration of any size, on certificates of its own, and certgauge that serves it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from benchmarks.processes import MEASURED, Served, free_port, get, running
from tests.authority import Authority

CERTGAUGE = (sys.executable, "-m", "exporter", "run", "--config")

_CERTGAUGE_YAML = """\
proxy: {{listen: "127.0.0.1:{proxy}"{core}}}
admin: {{listen: "127.0.0.1:{admin}"}}
certificate_expiry_monitor: {{enabled: {monitored}}}
apis: ["apis/*.yaml"]
certificates:
  upstream-ca: {{cert_file: "{directory}/ca.pem"}}
"""
_CERTIFICATE_YAML = """\
  {api_id}-client: {{cert_file: "{directory}/{api_id}.pem", key_file: "{directory}/{api_id}.key"}}
"""
_API_YAML = """\
api_id: {api_id}
listen_path: /{api_id}/
target_url: https://127.0.0.1:{upstream}/
upstream_certificates: {{"127.0.0.1": {api_id}-client}}
upstream_ca: upstream-ca
"""


def api_id(number: int) -> str:
    """Of the API with this number."""
    return f"api-{number:05}"


@dataclass(frozen=True, slots=True)
class Configuration:
    """A file for `certgauge run`, and the ports it says."""

    file: Path
    proxy: int
    admin: int


class Site:
    """A directory with a CA and what it issued: the upstream's certificate, and a client certificate for each API."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._authority = Authority("benchmark CA")
        (directory / "ca.pem").write_bytes(self._authority.root.pem)
        self._authority.issue("upstream", timedelta(days=90), "127.0.0.1", "localhost").write(directory, "server")
        self._issued = 0

    def configure(
        self, name: str, apis: int, *, upstream: int = 1, monitored: bool = True, core: str = ""
    ) -> Configuration:
        """Write a configuration of so many APIs, each with its own certificate, and free ports to serve it on."""
        self.issue(apis)
        proxy, admin = free_port(), free_port()
        definitions = self.directory / name / "apis"
        definitions.mkdir(parents=True, exist_ok=True)
        enabled = "true" if monitored else "false"
        chosen = f", core: {core}" if core else ""
        parts = [
            _CERTGAUGE_YAML.format(proxy=proxy, core=chosen, admin=admin, monitored=enabled, directory=self.directory)
        ]
        for number in range(apis):
            parts.append(_CERTIFICATE_YAML.format(api_id=api_id(number), directory=self.directory))
            definition = _API_YAML.format(api_id=api_id(number), upstream=upstream)
            (definitions / f"{api_id(number)}.yaml").write_text(definition)
        file = self.directory / name / "certgauge.yaml"
        file.write_text("".join(parts))
        return Configuration(file, proxy, admin)

    def issue(self, apis: int) -> None:
        """Client certificates for so many APIs, as files named after them."""
        for number in range(self._issued, apis):
            self._authority.issue(api_id(number)).write(self.directory, api_id(number))
        self._issued = max(self._issued, apis)


@contextmanager
def certgauge(configuration: Configuration, command: Sequence[str] = CERTGAUGE) -> Iterator[Served]:
    """Serve a configuration, on a CPU of its own; stops it at the end."""

    def ready() -> bool:
        return get(configuration.admin, "/ready")[0] == 200

    with running([*command, str(configuration.file)], MEASURED, ready, configuration.file.with_suffix(".log")) as it:
        yield it
