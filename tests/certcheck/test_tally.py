from __future__ import annotations

from exporter.certcheck.events import EventKind
from exporter.certcheck.expiry import State
from exporter.certcheck.slot import Role
from exporter.certcheck.tally import COOLDOWN, ErrorReason, Outcome, Tally


def late(tally: Tally) -> dict[str | None, int]:
    return {api: n for (api, _, outcome), n in tally.observations.items() if outcome is Outcome.AFTER_UNLOAD}


def test_every_reason_for_an_error_is_there_from_the_start() -> None:
    assert dict(Tally().errors) == dict.fromkeys(ErrorReason, 0)


def test_the_reasons_for_errors_are_the_published_set() -> None:
    assert {reason.value for reason in ErrorReason} >= {
        "nil_certificate",
        "no_leaf",
        "unreadable_certificate",
        "certificate_unusable",
        "inventory_full",
        "cooldown_store_failed",
        "event_not_delivered",
        "flush_failed",
        "flush_timeout",
        "reload_failed",
        "drain_timeout",
        "otlp_export_failed",
    }


def test_an_error_is_counted_under_its_reason() -> None:
    tally = Tally()
    tally.error(ErrorReason.NO_LEAF)
    tally.error(ErrorReason.NO_LEAF)

    assert +tally.errors == {ErrorReason.NO_LEAF: 2}


def test_an_unloaded_api_leaves_nothing_but_what_came_too_late() -> None:
    tally = Tally()
    for api_id in ("orders", "payments", None):
        tally.observations[api_id, Role.UPSTREAM, Outcome.ACCEPTED] += 1
        tally.observations[api_id, Role.UPSTREAM, Outcome.DROPPED] += 1
        tally.checks[api_id, State.VALID] += 1
        tally.checks[api_id, COOLDOWN] += 1
        tally.events[api_id, Role.UPSTREAM, EventKind.EXPIRED] += 1
        tally.after_unload(api_id, Role.UPSTREAM)
    tally.forget({"orders"})

    left = [key for counter in (tally.observations, tally.checks, tally.events) for key in counter]
    assert [key for key in left if key[0] == "orders"] == [("orders", Role.UPSTREAM, Outcome.AFTER_UNLOAD)]
    assert len([key for key in left if key[0] == "payments"]) == 6
    assert len([key for key in left if key[0] is None]) == 6


def test_forgetting_an_api_that_never_was_changes_nothing() -> None:
    tally = Tally()
    tally.checks["orders", State.VALID] += 1
    tally.forget({"payments"})

    assert tally.checks == {("orders", State.VALID): 1}


def test_observations_after_unload_are_counted_by_api_and_role() -> None:
    tally = Tally()
    for role in (Role.UPSTREAM, Role.UPSTREAM, Role.CLIENT):
        tally.after_unload("orders", role)

    assert tally.observations == {
        ("orders", Role.UPSTREAM, Outcome.AFTER_UNLOAD): 2,
        ("orders", Role.CLIENT, Outcome.AFTER_UNLOAD): 1,
    }


def test_of_those_the_last_hundred_are_kept_and_the_quietest_goes() -> None:
    tally = Tally()
    for number in range(100):
        tally.after_unload(f"api-{number}", Role.UPSTREAM)
    tally.after_unload("api-0", Role.UPSTREAM)
    tally.after_unload("another", Role.UPSTREAM)

    assert len(late(tally)) == 100
    assert late(tally)["api-0"] == 2
    assert "api-1" not in late(tally)
    assert "another" in late(tally)


def test_unloading_for_ever_leaves_no_more_than_that() -> None:
    tally = Tally()
    for number in range(5000):
        tally.observations[f"api-{number}", Role.UPSTREAM, Outcome.ACCEPTED] += 1
        tally.forget({f"api-{number}"})
        tally.after_unload(f"api-{number}", Role.UPSTREAM)

    assert len(tally.observations) == 100
