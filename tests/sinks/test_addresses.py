"""Which addresses may be connected to."""

from __future__ import annotations

import ipaddress
from random import Random

import pytest

from exporter.sinks.addresses import Reach, is_allowed, reach_of

PUBLIC = [
    "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0",
    "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.167.255.255", "192.169.0.0",
    "198.17.255.255", "198.20.0.0", "223.255.255.255", "2606:4700::1111", "2000::1", "2001:200::1", "2001:4860::8888",
    "64:ff9b::808:808", "::ffff:8.8.8.8", "2002:808:808::1",
    "2001:0:808:808:0:0:f7f7:f7f7",
]  # fmt: skip
PRIVATE = [
    "127.0.0.0", "127.0.0.1", "127.255.255.255", "10.0.0.0", "10.255.255.255", "172.16.0.0", "172.31.255.255",
    "192.168.0.0", "192.168.255.255", "100.64.0.0", "100.127.255.255", "100.100.100.199", "100.100.100.201",
    "::1", "fc00::", "fdff:ffff::1", "fd00:ec1::254",
]  # fmt: skip
FORBIDDEN = {
    "unspecified": ["0.0.0.0", "0.0.0.1", "0.255.255.255", "::"],
    "link-local": ["169.254.0.0", "169.254.169.254", "169.254.255.255"],
    "link-local too": ["fe80::1", "fe80::1%eth0", "febf::1", "fec0::1"],
    "metadata": ["100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254"],
    "multicast": ["224.0.0.0", "224.0.0.1", "239.255.255.255", "ff00::", "ff02::1"],
    "broadcast and reserved": ["240.0.0.0", "255.255.255.254", "255.255.255.255", "198.18.0.1", "198.19.255.255"],
    "documentation": ["192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1"],
    "unassigned": ["4000::1", "100::1", "1::1", "5f00::1", "64:ff9b:1::1", "2001:20::1"],
    "compatible": ["::127.0.0.1", "::8.8.8.8", "::2"],
    "mapped": ["::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:0.0.0.0", "::ffff:224.0.0.1"],
    "translated": ["::ffff:0:127.0.0.1", "::ffff:0:a9fe:a9fe"],
    "NAT64": ["64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b::169.254.169.254", "64:ff9b::100.100.100.200"],
    "6to4": ["2002:7f00:1::1", "2002:a00:1::", "2002:a9fe:a9fe::1", "2002::"],
    "Teredo": [
        "2001:0:7f00:1:0:0:f7f7:f7f7",  # the server is 127.0.0.1, the client public
        "2001:0:808:808:0:0:80ff:fffe",  # the other way round
        "2001:0:808:808:0:0:5601:5601",  # the client is 169.254.169.254
    ],
    "no address": ["", "localhost", "127.1", "0x7f.0.0.1", "2130706433", "017700000001", "127.0.0.1 ", "::ffff:127.1"],
}  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_allowed_always(address: str) -> None:
    assert reach_of(address) is Reach.PUBLIC
    assert (is_allowed(address, private=False), is_allowed(address, private=True)) == (True, True)


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_address_is_allowed_where_the_configuration_says_so(address: str) -> None:
    assert reach_of(address) is Reach.PRIVATE
    assert (is_allowed(address, private=False), is_allowed(address, private=True)) == (False, True)


@pytest.mark.parametrize("address", [each for addresses in FORBIDDEN.values() for each in addresses])
def test_a_forbidden_address_is_allowed_never(address: str) -> None:
    assert reach_of(address) is Reach.FORBIDDEN
    assert (is_allowed(address, private=False), is_allowed(address, private=True)) == (False, False)


def test_what_the_standard_library_knows_as_not_global_is_never_public() -> None:
    random = Random(1)
    for _ in range(20_000):
        address = random.choice((
            ipaddress.IPv4Address(random.getrandbits(32)),
            ipaddress.IPv6Address(random.getrandbits(128)),
            ipaddress.IPv6Address(random.getrandbits(32) | random.getrandbits(16) << 112),
        ))  # fmt: skip
        assert address.is_global or reach_of(str(address)) is not Reach.PUBLIC, address
