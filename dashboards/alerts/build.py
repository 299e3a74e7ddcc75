"""Write both files from the one source. `scripts/alerts` runs this; a test holds the files to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from dashboards.alerts.alert import Alert
from dashboards.alerts.certificates import CERTIFICATES
from dashboards.alerts.grafana import provisioning
from dashboards.alerts.monitor import MONITOR
from dashboards.alerts.prometheus import rules

HERE = Path(__file__).parent
GROUPS = (CERTIFICATES, MONITOR)
ALERTS: tuple[Alert, ...] = tuple(alert for group in GROUPS for alert in group.alerts)

HEADER = "# Written by scripts/alerts from the modules beside it: change those.\n"


class _Dumper(yaml.SafeDumper):
    """Expressions on lines of their own, lists indented, nothing folded, no aliases."""

    def ignore_aliases(self, data: object) -> bool:
        del data
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: FBT001, FBT002
        del indentless
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def files() -> dict[str, str]:
    """Each file's name and text."""
    documents: dict[str, Any] = {
        "certgauge.rules.yaml": rules(GROUPS),
        "grafana-alerts.yaml": provisioning(GROUPS),
    }
    return {name: HEADER + _dumped(document) for name, document in documents.items()}


def _dumped(document: Any) -> str:
    text: str = yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10**6)
    return text


def main(directory: Path = HERE) -> None:
    """Write them."""
    for name, text in files().items():
        (directory / name).write_text(text, "utf-8")
