"""What an upstream presents is read once for each node and chain, and as far as it holds up nothing else."""

from __future__ import annotations

import ssl
import tracemalloc

import pytest
from cryptography.x509 import DNSName

from exporter.certcheck.certificate import LARGE
from exporter.certcheck.slot import Observation
from exporter.proxy.core import Upstream
from exporter.proxy.presented import Presented
from exporter.target import parse_target
from tests.certcheck.test_certificate import common_name, made

UPSTREAM = Upstream("orders", parse_target("https://orders.internal/"), None, observes=True)
SMALL = made(common_name("small"))


def bulky(number: int, names: int = 2500) -> bytes:
    return made(common_name(f"large {number}"), sans=tuple(DNSName(f"host-{each}") for each in range(names)))


def handshake(presented: Presented, *chain: bytes) -> None:
    """One in which this chain fails verification."""
    failure = ssl.SSLCertVerificationError(1, "certificate verify failed")
    failure.presented = chain  # type: ignore[attr-defined]
    presented.failed("192.0.2.1", failure)


@pytest.fixture
def observed() -> list[Observation]:
    return []


@pytest.fixture
def presented(observed: list[Observation]) -> Presented:
    return Presented(UPSTREAM, lambda each: observed.append(each) if each is not None else None)


def test_the_same_chain_is_one_observation_and_another_is_another(
    presented: Presented, observed: list[Observation]
) -> None:
    for chain in ([SMALL], [SMALL], [SMALL, bulky(0)]):
        handshake(presented, *chain)
    assert [observed.index(each) for each in observed] == [0, 0, 2]


def test_of_a_chain_that_is_large_as_a_whole_the_rest_is_read_for_its_dates(
    presented: Presented, observed: list[Observation]
) -> None:
    chain = [bulky(number) for number in range(3)]
    assert len(chain[0]) < LARGE < len(chain[0]) * 2
    handshake(presented, *chain)
    found = [reading.certificate for reading in observed[0].chain]
    assert [each and each.common_name for each in found] == ["large 0", None, None]
    assert len({each.not_after for each in found if each}) == 1


def test_chains_that_are_new_each_time_are_not_kept() -> None:
    chains = [(bulky(number),) for number in range(100)]
    presented = Presented(UPSTREAM, lambda _: None)
    tracemalloc.start()
    try:
        for chain in chains:
            # As OpenSSL gives it: new bytes each time.
            handshake(presented, *(bytes(bytearray(der)) for der in chain))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < len(chains) * 20_000
