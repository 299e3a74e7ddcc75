"""Which clients an API serves: real certificates, listed as files are, presented as they come out of a handshake."""

from __future__ import annotations

import time
from datetime import timedelta
from itertools import permutations
from pathlib import Path
from typing import TypeAlias

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from exporter.certcheck.slot import Observation, Role
from exporter.certificates.allow_list import allow_list, role_of
from exporter.certificates.files import CertificateFiles, Material, read_certificates
from exporter.proxy.clients import ClientPolicy
from exporter.proxy.errors import Refusal
from tests.authority import DAY, KEYS, Authority, Issued

SECOND = timedelta(seconds=1)
REQUIRED, NOT_ALLOWED, EXPIRED = (
    Refusal.CLIENT_CERTIFICATE_REQUIRED,
    Refusal.CLIENT_CERTIFICATE_NOT_ALLOWED,
    Refusal.CLIENT_CERTIFICATE_EXPIRED,
)
Case: TypeAlias = tuple[list[bytes], list[Issued], Refusal | None]
"""The files that are listed, what is presented, and the answer."""

ROOT, OTHER = Authority("partners"), Authority("others")
NOW = ROOT.now
TEAM = ROOT.intermediate("team")
UNIT = TEAM.intermediate("unit")
CLIENT, RENEWED, OUTSIDER = ROOT.issue("client"), ROOT.issue("client", 300 * DAY), OTHER.issue("client")
MEMBER = UNIT.issue("member")


def usage(*names: str) -> x509.KeyUsage:
    every = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**{name: name in names for name in every})


def dns(*names: str) -> x509.NameConstraints:
    return x509.NameConstraints([x509.DNSName(name) for name in names], None)


def entry(directory: Path, number: int, content: bytes) -> tuple[Material, Observation]:
    file = directory / f"{number}.pem"
    file.write_bytes(content)
    material = read_certificates(f"entry-{number}", CertificateFiles(file))
    return material, Observation("orders", role_of(material), material.chain, material.ref)


def listing(directory: Path, *files: bytes, observes: bool = True) -> ClientPolicy:
    """The policy of an API that lists these files."""
    entries = [entry(directory, number, content) for number, content in enumerate(files)]
    return allow_list("orders", entries, observes=observes)


def refusal(policy: ClientPolicy, *presented: Issued, at: timedelta = timedelta(0)) -> Refusal | None:
    return policy.judge(tuple(each.der for each in presented)).refusal(NOW + at)


EXPIRED_TEAM, SERVERS = ROOT.intermediate("team", -DAY), x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
CLIENTS, ANY = (
    x509.ExtendedKeyUsage([purpose])
    for purpose in (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)
)
SELF_SIGNED, SELF_SIGNED_CA = Authority("laptop", path_length=0).root, Authority("laptop").root
SHALLOW = ROOT.intermediate("shallow")
CONSTRAINED = Authority("constrained", extensions=[dns("orders.internal")])
CONSTRAINED_TEAM = ROOT.intermediate("constrained", 100 * DAY, dns("orders.internal"))
RENEWED_ROOT = Authority("partners", key=ROOT.root.key)
OLD_ROOT = Authority("partners", key=ROOT.root.key, left=-DAY)
RENEWED_TEAM = Authority("team", by=ROOT, key=TEAM.root.key)
OLD_TEAM = Authority("team", by=ROOT, key=TEAM.root.key, left=-DAY)
SAME_NAME = Authority("partners")
NOT_SIGNING = ROOT.intermediate("not signing", 100 * DAY, usage("digital_signature"))
FLAT = Authority("flat", path_length=0)
SERVER_TEAM = ROOT.intermediate("servers", 100 * DAY, SERVERS)


def below(issuer: Issued, name: str = "forged") -> Issued:
    """What somebody issues with a key that is not for that."""
    forger = Authority(issuer.certificate.subject.rfc4514_string().removeprefix("CN="), key=issuer.key)
    return forger.issue(name)


CASES: dict[str, Case] = {
    "nothing": ([CLIENT.pem], [], REQUIRED),
    "nothing, where an issuer is listed": ([ROOT.root.pem], [], REQUIRED),
    "the listed certificate": ([CLIENT.pem], [CLIENT], None),
    "the listed certificate, with others behind it": ([CLIENT.pem], [CLIENT, TEAM.root, ROOT.root], None),
    "the second file's": ([RENEWED.pem, CLIENT.pem], [CLIENT], None),
    "the second certificate of a file": ([RENEWED.pem + CLIENT.pem], [CLIENT], None),
    "a renewed certificate that is not listed": ([CLIENT.pem], [RENEWED], NOT_ALLOWED),
    "a listed certificate, but behind another one": ([CLIENT.pem], [RENEWED, CLIENT], NOT_ALLOWED),
    "the same name from another issuer": ([CLIENT.pem], [OUTSIDER], NOT_ALLOWED),
    "a listed certificate that has expired": ([(gone := ROOT.issue("client", -SECOND)).pem], [gone], EXPIRED),
    "a listed certificate that is not valid yet": (
        [(early := ROOT.issue("client", not_before=NOW + SECOND)).pem],
        [early],
        NOT_ALLOWED,
    ),
    "a listed self-signed certificate": ([SELF_SIGNED.pem], [SELF_SIGNED], None),
    "a listed self-signed certificate that could issue": ([SELF_SIGNED_CA.pem], [SELF_SIGNED_CA], None),
    "a self-signed certificate that is not listed": ([ROOT.root.pem], [SELF_SIGNED], NOT_ALLOWED),
    "issued with the key of a listed client": ([CLIENT.pem], [below(CLIENT), CLIENT], NOT_ALLOWED),
    "issued with the key of a client of a listed issuer": ([ROOT.root.pem], [below(CLIENT), CLIENT], NOT_ALLOWED),
    "of a listed issuer": ([ROOT.root.pem], [CLIENT], None),
    "of a listed issuer, which is presented as well": ([ROOT.root.pem], [CLIENT, ROOT.root], None),
    "of the second of a bundle of issuers": ([OTHER.root.pem + ROOT.root.pem], [CLIENT], None),
    "a client that is listed behind issuers": ([OTHER.root.pem + CLIENT.pem], [CLIENT], None),
    "of an issuer that another API lists": ([ROOT.root.pem], [OUTSIDER], NOT_ALLOWED),
    "of an issuer of the same name": ([ROOT.root.pem], [SAME_NAME.issue("client")], NOT_ALLOWED),
    "of an issuer of the same name, both listed": ([SAME_NAME.root.pem + ROOT.root.pem], [CLIENT], None),
    "of an issuer behind a listed client": ([CLIENT.pem + ROOT.root.pem], [RENEWED], NOT_ALLOWED),
    "of an issuer that has signed a listed issuer": ([TEAM.root.pem], [CLIENT], NOT_ALLOWED),
    "through intermediates": ([ROOT.root.pem], [MEMBER, UNIT.root, TEAM.root], None),
    "through intermediates in another order": ([ROOT.root.pem], [MEMBER, ROOT.root, TEAM.root, UNIT.root], None),
    "through intermediates among others": ([ROOT.root.pem], [MEMBER, OUTSIDER, UNIT.root, TEAM.root, MEMBER], None),
    "without a needed intermediate": ([ROOT.root.pem], [MEMBER, TEAM.root], NOT_ALLOWED),
    "of a listed intermediate": ([UNIT.root.pem], [MEMBER], None),
    "below a listed intermediate": ([TEAM.root.pem], [MEMBER, UNIT.root], None),
    "behind too many intermediates": (
        [ROOT.root.pem],
        [MEMBER, *[OUTSIDER] * 10, UNIT.root, TEAM.root],
        NOT_ALLOWED,
    ),
    "an expired one of a listed issuer": ([ROOT.root.pem], [ROOT.issue("client", -SECOND)], EXPIRED),
    "an early one of a listed issuer": ([ROOT.root.pem], [ROOT.issue("client", not_before=NOW + SECOND)], NOT_ALLOWED),
    "of an expired intermediate": ([ROOT.root.pem], [EXPIRED_TEAM.issue("member"), EXPIRED_TEAM.root], EXPIRED),
    "of an expired listed issuer": ([OLD_ROOT.root.pem], [CLIENT], EXPIRED),
    "an expired one of an issuer that is not listed": ([ROOT.root.pem], [OTHER.issue("client", -DAY)], NOT_ALLOWED),
    "of a renewed issuer, the old one first": ([OLD_ROOT.root.pem + RENEWED_ROOT.root.pem], [CLIENT], None),
    "of a renewed issuer, the old one last": ([RENEWED_ROOT.root.pem + OLD_ROOT.root.pem], [CLIENT], None),
    "of a renewed intermediate, the old one listed": (
        [OLD_TEAM.root.pem + ROOT.root.pem],
        [TEAM.issue("member"), RENEWED_TEAM.root],
        None,
    ),
    "of a renewed intermediate, both presented": (
        [ROOT.root.pem],
        [TEAM.issue("member"), OLD_TEAM.root, RENEWED_TEAM.root],
        None,
    ),
    "for servers only": ([ROOT.root.pem], [ROOT.issue("client", extensions=[SERVERS])], NOT_ALLOWED),
    "for servers only, but listed": ([(served := ROOT.issue("client", extensions=[SERVERS])).pem], [served], None),
    "for clients": ([ROOT.root.pem], [ROOT.issue("client", extensions=[CLIENTS])], None),
    "for anything": ([ROOT.root.pem], [ROOT.issue("client", extensions=[ANY])], None),
    "of an issuer for servers": ([ROOT.root.pem], [SERVER_TEAM.issue("client"), SERVER_TEAM.root], NOT_ALLOWED),
    "not for signing": ([ROOT.root.pem], [ROOT.issue("client", extensions=[usage("crl_sign")])], NOT_ALLOWED),
    "for signing": ([ROOT.root.pem], [ROOT.issue("client", extensions=[usage("digital_signature")])], None),
    "of an issuer not for issuing": ([ROOT.root.pem], [NOT_SIGNING.issue("client"), NOT_SIGNING.root], NOT_ALLOWED),
    "of a listed issuer not for issuing": ([NOT_SIGNING.root.pem], [NOT_SIGNING.issue("client")], NOT_ALLOWED),
    "a longer path than is allowed": (
        [FLAT.root.pem],
        [(deep := FLAT.intermediate("deep")).issue("client"), deep.root],
        NOT_ALLOWED,
    ),
    "within name constraints": ([CONSTRAINED.root.pem], [CONSTRAINED.issue("a.orders.internal")], None),
    "outside name constraints": ([CONSTRAINED.root.pem], [CONSTRAINED.issue("billing.internal")], NOT_ALLOWED),
    "outside an intermediate's name constraints": (
        [ROOT.root.pem],
        [CONSTRAINED_TEAM.issue("billing.internal"), CONSTRAINED_TEAM.root],
        NOT_ALLOWED,
    ),
    "from a list of nothing that can be read": ([b"", b"nothing"], [CLIENT], NOT_ALLOWED),
    "nothing, for a list of nothing that can be read": ([b"nothing"], [], NOT_ALLOWED),
    "beside what cannot be read": ([b"nothing", ROOT.root.pem], [CLIENT], None),
    "of an issuer beside a broken block": ([ROOT.root.pem + CLIENT.pem[:100]], [CLIENT], None),
    "of an issuer behind a broken block": ([CLIENT.pem[:100] + ROOT.root.pem], [RENEWED], NOT_ALLOWED),
}


@pytest.mark.parametrize(("files", "presented", "answer"), CASES.values(), ids=CASES)
def test_a_client_is_answered_by_what_it_presents_and_what_is_listed(
    tmp_path: Path, files: list[bytes], presented: list[Issued], answer: Refusal | None
) -> None:
    assert refusal(listing(tmp_path, *files), *presented) is answer


@pytest.mark.parametrize("kind", KEYS)
def test_keys_of_every_kind_are_verified(tmp_path: Path, kind: str) -> None:
    authority = Authority("any", key=KEYS[kind]())
    member, foreign = authority.issue("member", key=KEYS[kind]()), Authority("any", key=KEYS[kind]()).issue("member")

    policy = listing(tmp_path, authority.root.pem)
    assert (refusal(policy, member), refusal(policy, foreign)) == (None, NOT_ALLOWED)


def test_a_client_needs_no_name_but_a_subject(tmp_path: Path) -> None:
    key = KEYS["ec"]()
    bare = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(ROOT.root.certificate.subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + DAY)
    )
    issued = Issued(bare.sign(ROOT.root.key, ROOT.root.certificate.signature_hash_algorithm), key)  # type: ignore[arg-type]

    assert refusal(listing(tmp_path, ROOT.root.pem), issued) is None


@pytest.mark.parametrize("garbage", [b"", b"\0", b"\x30\x03abc", CLIENT.der[:-1], CLIENT.der[1:], CLIENT.der * 2])
def test_garbage_is_not_allowed_and_is_no_failure(tmp_path: Path, garbage: bytes) -> None:
    policy = listing(tmp_path, ROOT.root.pem, RENEWED.pem)

    # OpenSSL reads the first of two.
    assert policy.judge((garbage,)).refusal(NOW) is (None if garbage == CLIENT.der * 2 else NOT_ALLOWED)
    assert policy.judge((CLIENT.der, garbage)).refusal(NOW) is None


def test_an_admission_ends_with_the_first_certificate_of_its_path_to_expire(tmp_path: Path) -> None:
    team = ROOT.intermediate("team", 10 * DAY)
    policy, presented = listing(tmp_path, ROOT.root.pem), [team.issue("member", 20 * DAY), team.root]

    # RFC 5280 section 4.1.2.5: the period is inclusive.
    answers = [refusal(policy, *presented, at=at) for at in (10 * DAY, 10 * DAY + timedelta(microseconds=1))]
    assert answers == [None, EXPIRED]


def test_an_admission_goes_on_where_another_path_does(tmp_path: Path) -> None:
    soon = Authority("partners", key=ROOT.root.key, left=10 * DAY)
    policy = listing(tmp_path, soon.root.pem + RENEWED_ROOT.root.pem)

    assert [refusal(policy, RENEWED, at=days * DAY) for days in (0, 11, 301)] == [None, None, EXPIRED]


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_a_client_listed_with_its_chain_lets_in_nobody_else_in_whatever_order(
    tmp_path: Path, order: tuple[int, ...]
) -> None:
    chain = (MEMBER, UNIT.root, TEAM.root)
    policy = listing(tmp_path, b"".join(chain[index].pem for index in order))

    assert refusal(policy, MEMBER) is None
    assert refusal(policy, UNIT.issue("stranger"), UNIT.root) is NOT_ALLOWED
    observation = policy.judge((MEMBER.der,)).observation
    assert observation is not None
    assert (observation.role, observation.cert_ref is None) == (Role.CLIENT, False)


# What is observed.


def test_a_listed_certificate_is_observed_in_its_own_slot(tmp_path: Path) -> None:
    entries = [entry(tmp_path, 0, CLIENT.pem), entry(tmp_path, 1, ROOT.root.pem)]
    admission = allow_list("orders", entries).judge((CLIENT.der,))

    assert admission.observation is entries[0][1]
    assert admission.observation is admission.observation


def test_a_verified_certificate_is_observed_with_its_intermediates_and_without_what_is_listed(tmp_path: Path) -> None:
    observation = (
        listing(tmp_path, ROOT.root.pem).judge((MEMBER.der, CLIENT.der, TEAM.root.der, UNIT.root.der)).observation
    )

    assert observation is not None
    assert (observation.api_id, observation.role, observation.cert_ref) == ("orders", Role.CLIENT, None)
    assert [slot.cert_name for slot in observation.slots()] == ["member", "unit", "team"]


def test_what_two_connections_of_one_client_depend_on_is_counted_once(tmp_path: Path) -> None:
    policy = listing(tmp_path, ROOT.root.pem)
    one, other = (policy.judge((CLIENT.der,)).observation for _ in range(2))
    assert one is not None
    assert one is other


def test_the_shortest_path_is_observed(tmp_path: Path) -> None:
    chain = (MEMBER.der, UNIT.root.der, TEAM.root.der)
    observation = listing(tmp_path, ROOT.root.pem + UNIT.root.pem).judge(chain).observation

    assert observation is not None
    assert [slot.cert_name for slot in observation.slots()] == ["member"]


@pytest.mark.parametrize(
    ("files", "presented"),
    [
        ([SELF_SIGNED_CA.pem], SELF_SIGNED_CA),
        ([RENEWED.pem + CLIENT.pem], CLIENT),
        ([OTHER.root.pem + CLIENT.pem], CLIENT),
    ],
)
def test_what_is_listed_but_not_as_the_client_of_a_file_is_observed_by_name(
    tmp_path: Path, files: list[bytes], presented: Issued
) -> None:
    observation = listing(tmp_path, *files).judge((presented.der,)).observation

    assert observation is not None
    assert [(reading.certificate and reading.certificate.cert_id) for reading in observation.chain] == [
        presented.cert_id
    ]
    assert (observation.role, observation.cert_ref) == (Role.CLIENT, None)


def test_an_expired_client_is_observed_and_one_that_is_not_allowed_is_not(tmp_path: Path) -> None:
    policy = listing(tmp_path, ROOT.root.pem, (expired := ROOT.issue("late", -DAY)).pem)

    assert policy.judge((expired.der,)).observation is not None
    assert policy.judge((OUTSIDER.der,)).observation is None
    assert policy.judge(()).observation is None


def test_without_monitoring_nothing_is_observed(tmp_path: Path) -> None:
    policy = listing(tmp_path, ROOT.root.pem, RENEWED.pem, observes=False)

    for presented in (CLIENT, RENEWED):
        admission = policy.judge((presented.der,))
        assert (admission.observation, admission.refusal(NOW)) == (None, None)


@pytest.mark.parametrize(
    ("content", "role"),
    [
        (CLIENT.pem, Role.CLIENT),
        (CLIENT.pem + ROOT.root.pem, Role.CLIENT),
        (ROOT.root.pem, Role.CA),
        (TEAM.root.pem + CLIENT.pem, Role.CA),
        (b"nothing", Role.CLIENT),
    ],
)
def test_a_listed_file_holds_issuers_if_it_begins_with_one(tmp_path: Path, content: bytes, role: Role) -> None:
    assert entry(tmp_path, 0, content)[1].role is role


def test_what_a_listener_lets_through_is_what_counts(tmp_path: Path) -> None:
    policy = listing(tmp_path, CLIENT.pem + ROOT.root.pem, OTHER.root.pem + RENEWED.pem, b"nothing")

    assert policy.certificates == {CLIENT.der, OTHER.root.der, RENEWED.der}


def test_a_large_bundle_is_searched_in_milliseconds(tmp_path: Path) -> None:
    bundle = b"".join(Authority(f"issuer {number}").root.pem for number in range(150))
    policy = listing(tmp_path, bundle + ROOT.root.pem)
    started_at = time.perf_counter()

    assert refusal(policy, MEMBER, UNIT.root, TEAM.root) is None
    # Measured: 5 ms. The bound leaves room for a busy machine, and none for looking at each with all its siblings.
    assert time.perf_counter() - started_at < 0.5
