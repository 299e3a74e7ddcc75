"""What an alert is, and the words that every alert's text is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

RUNBOOKS = "https://github.com/certgauge/certgauge/blob/main/docs/runbooks"

Labels: TypeAlias = tuple[str, ...]

ORIGIN: Labels = ("cluster", "namespace", "job")
"""What tells one gateway from another. Replicas share them; what tells replicas apart is aggregated away, so that a
certificate has one alert, however many replicas use it, and keeps it when a replica goes."""

SLOT: Labels = (
    *ORIGIN,
    "api_id",
    "cert_role",
    "cert_ref",
    "cert_name",
    "server_address",
    "server_port",
    "network_peer_address",
    "chain_position",
    "chain_index",
)
"""What tells one slot from another. None of it changes with a renewal."""

VALUE = "[[value]]"
"""Stands for the value of an alert's expression, which the two dialects name differently."""


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that an alert tells besides its value. Never negative: Grafana has -1 for what is unknown."""

    name: str
    query: str
    """PromQL with `{by}` for the grouping by slot, and `{where}` for what selects one slot."""
    form: str
    """A template's pipeline that makes text of the number."""
    known: str
    """The sentence, with `{}` for the number."""
    unknown: str = ""

    @property
    def token(self) -> str:
        """What stands for the sentence in a text."""
        return f"[[{self.name}]]"


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert, in no dialect."""

    name: str
    severity: Literal["warning", "critical"]
    when: str
    """For the page: a sentence without its full stop."""
    expr: str
    """PromQL. It gives nothing where there is nothing to tell, and else a number above 0."""
    runbook: str
    summary: str
    description: str
    wait: str = "0s"
    """How long it has to hold before it fires."""
    keep: str = "0s"
    """How long it goes on firing after: over a scrape that failed, or a restart."""
    facts: tuple[Fact, ...] = ()

    @property
    def runbook_url(self) -> str:
        """Where its runbook is read."""
        return f"{RUNBOOKS}/{self.runbook}.md"


@dataclass(frozen=True, slots=True)
class Group:
    """Alerts that are evaluated one after the other."""

    name: str
    alerts: tuple[Alert, ...]


def text_of(label: str) -> str:
    """A label's value, for a template."""
    return f"{{{{ $labels.{label} }}}}"


def told(label: str, text: str, otherwise: str = "") -> str:
    """Text for a label that is there. What is unknown is absent, and Grafana would print `[no value]`."""
    middle = f"{{{{ else }}}}{otherwise}" if otherwise else ""
    return f"{{{{ if $labels.{label} }}}}{text}{middle}{{{{ end }}}}"


def value(form: str) -> str:
    """The alert's value, made text by a pipeline."""
    return f"{{{{ {VALUE} | {form} }}}}"


WHOLE = 'printf "%.0f"'
DATE = "humanizeTimestamp"
DURATION = "humanizeDuration"

OWNER = told("api_id", f"API {text_of('api_id')}", "the gateway itself")
ROLE = '{{ if eq $labels.cert_role "ca" }}CA{{ else }}{{ reReplaceAll "_" " " $labels.cert_role }}{{ end }}'
CERTIFICATE = f"The {ROLE} certificate {told('cert_name', text_of('cert_name'), 'without a readable name')} of {OWNER}"

_ADDRESS = text_of("server_address") + told("server_port", f":{text_of('server_port')}")
PLACE = "".join((
    told("cert_ref", f"Its reference is {text_of('cert_ref')}", "It was presented in a handshake"),
    told("server_address", f", towards {_ADDRESS}"),
    told("network_peer_address", f" at {text_of('network_peer_address')}"),
    told("chain_index", f"; in its chain it is number {text_of('chain_index')}, from 0"),
    ".",
))  # fmt: skip
