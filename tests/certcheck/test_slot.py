from __future__ import annotations

import pytest

from exporter.certcheck.certificate import Certificate, Reading
from exporter.certcheck.slot import ChainPosition, Observation, Role, Slot, chain_position
from tests.certcheck import DAY, fine
from tests.fakes import NOON


@pytest.mark.parametrize(
    ("role", "index", "self_issued", "position"),
    [
        (Role.UPSTREAM, 0, False, ChainPosition.LEAF),
        # Also a self-signed one is the leaf of its chain.
        (Role.SERVER, 0, True, ChainPosition.LEAF),
        (Role.UPSTREAM, 0, None, ChainPosition.LEAF),
        (Role.UPSTREAM_SERVER, 1, False, ChainPosition.INTERMEDIATE),
        (Role.UPSTREAM_SERVER, 2, True, ChainPosition.ROOT),
        (Role.UPSTREAM_SERVER, 1, None, None),
        (Role.CA, 0, True, ChainPosition.ROOT),
        (Role.CA, 0, False, ChainPosition.INTERMEDIATE),
        (Role.CA, 3, True, ChainPosition.ROOT),
        (Role.CA, 0, None, None),
    ],
)
def test_the_first_of_a_chain_is_the_leaf_and_of_the_others_it_is_read(
    role: Role,
    index: int,
    self_issued: bool | None,  # noqa: FBT001
    position: ChainPosition | None,
) -> None:
    read = None if self_issued is None else Certificate("id", NOON, NOON + DAY, self_issued=self_issued)

    assert chain_position(role, index, read) is position


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
