"""Pieces of PromQL that several alerts share."""

from __future__ import annotations

from dashboards.alerts.alert import SLOT, Labels

NOT_AFTER = "certificate_not_after_timestamp_seconds"
NOT_BEFORE = "certificate_not_before_timestamp_seconds"
STATE = "certificate_state"
RELOADED = "certgauge_config_last_reload_successful"
"""Every gateway has it from its start, whatever it is configured to do: where it is missing, nothing reports."""


def by(function: str, labels: Labels, inner: str) -> str:
    """An aggregation; the inner expression on lines of its own."""
    return f"{function} by ({', '.join(labels)}) (\n{indented(inner)}\n)"


def by_slot(function: str, inner: str) -> str:
    """An aggregation over replicas."""
    return by(function, SLOT, inner)


def in_state(inner: str, state: str) -> str:
    """What of an expression is about slots in a state, replica by replica."""
    return f'{inner}\nand ignoring (state) {STATE}{{state="{state}"}}'


def grew(counter: str, window: str) -> str:
    """How much a counter grew in a window, if it did.

    A counter may be seen for the first time when it has counted already: `increase` takes that for where it began.
    """
    return f"(increase({counter}[{window}]) > 0)\nor\n({counter} > 0 unless {counter} offset {window})"


def without(one: str, *others: str) -> str:
    """What is in none of the others, which have the same labels."""
    return "\nunless ".join((one, *others))


def indented(text: str) -> str:
    """An expression within another one."""
    return "\n".join(f"  {line}" for line in text.splitlines())
