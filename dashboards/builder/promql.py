"""Expressions that several panels share.

Replicas, and nodes behind one name, each have series of their own, so everything is brought together by the labels
that a person knows a certificate by. What is joined is joined by `and` or `unless`, which bear duplicates: behind a
collector a slot that has just changed its state has two series of it for a while.
"""

from __future__ import annotations

from dashboards.builder.words import STATES

WHERE = 'job=~"$job",instance=~"$instance"'
API = f'{WHERE},api_id=~"$api_id"'
SLOT = f'{API},cert_role=~"$cert_role"'
"""`.*`, which "All" stands for, also matches a label that is absent: the gateway's own have no `api_id`."""

KNOWN_BY = "api_id,cert_role,cert_name,cert_ref,server_address"
HOP = "cert_role,cert_name,cert_ref,server_address,chain_position,network_peer_address"

RELOADED = f"certgauge_config_last_reload_successful{{{WHERE}}}"
"""Present from the start of every certgauge: the sign that it is there."""
WAS_CERTGAUGE = f"on (job,instance) last_over_time({RELOADED}[1d])"


def series(name: str, selected: str = SLOT, *more: str) -> str:
    """A metric and what is selected of it; an instant with `@` may follow."""
    return f"{name}{{{','.join((selected, *more))}}}"


def one(label: str, value: str) -> str:
    """That a label has a value."""
    return f'{label}="{value}"'


def like(label: str, pattern: str) -> str:
    """That a label matches a pattern as a whole."""
    return f'{label}=~"{pattern}"'


def having(label: str) -> str:
    """That there is such a label."""
    return f'{label}!=""'


def current(name: str, at: str = "") -> str:
    """Of the slots, those that no newer certificate has superseded."""
    superseded = series("certificate_state", SLOT, one("state", "superseded"))
    return f"{series(name)}{at} unless ignoring (state) {superseded}{at}"


def not_after(by: str) -> str:
    """When each expires, in seconds."""
    return f"min by ({by}) ({current('certificate_not_after_timestamp_seconds')})"


def days(instant: str) -> str:
    """Whole days from now to an instant, rounded down."""
    return f"floor(({instant} - time()) / 86400)"


def state(by: str, at: str = "") -> str:
    """The number of the worst state in each group."""
    each = (
        f"{number} * {series('certificate_state', SLOT, one('state', name))}{at}"
        for name, (number, _, _) in STATES.items()
    )
    return f"max by ({by}) ({' or '.join(each)})"


def count(states: str) -> str:
    """How many certificates are in one of these states, and 0 if none is."""
    selected = series("certificate_state", SLOT, like("state", states))
    return f"count(count by ({KNOWN_BY}) ({selected})) or vector(0)"


def new(counter: str, window: str = "$__range") -> str:
    """What was counted within a time, also the first of its kind, with which a series begins: `increase` misses it."""
    return f"(({counter} unless {counter} offset {window}) or increase({counter}[{window}]))"


def total(expression: str) -> str:
    """The sum, and 0 if there is nothing; a whole number."""
    return f"round(sum({expression})) or vector(0)"
