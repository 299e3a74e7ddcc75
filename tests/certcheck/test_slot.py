from __future__ import annotations

from exporter.certcheck.certificate import Reading
from exporter.certcheck.slot import Observation, Role, Slot
from tests.certcheck import DAY, fine


def test_every_certificate_of_a_chain_has_its_slot() -> None:
    chain = (fine(), fine(name="intermediate"), Reading())
    observation = Observation("orders", Role.UPSTREAM_SERVER, chain, None, "orders.internal", 8443)

    assert observation.slots() == tuple(
        Slot("orders", Role.UPSTREAM_SERVER, None, "orders.internal", 8443, index) for index in range(3)
    )


def test_what_clients_present_is_told_apart_by_name() -> None:
    observation = Observation("orders", Role.CLIENT, (fine(name="a"), fine(name="issuer")))

    assert observation.slots() == tuple(
        Slot("orders", Role.CLIENT, chain_index=index, cert_name=name) for index, name in enumerate(("a", "issuer"))
    )
    assert observation.first_slot == observation.slots()[0]


def test_a_renewed_certificate_has_the_same_slot() -> None:
    before = Observation("orders", Role.UPSTREAM, (fine(DAY),), "orders-client")
    after = Observation("orders", Role.UPSTREAM, (fine(365 * DAY),), "orders-client")

    assert before.slots() == after.slots()


def test_the_gateway_and_every_api_have_slots_of_their_own() -> None:
    slots = {Observation(api, role, (fine(),), "ref").slots()[0] for api in (None, "a", "b") for role in Role}

    assert len(slots) == 3 * len(Role)
