from __future__ import annotations

import ipaddress
import warnings
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha256

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.certcheck.certificate import Certificate, InvalidReason, Reading, read_certificate
from exporter.certcheck.der import validity

NOT_BEFORE, NOT_AFTER = datetime(2024, 2, 29, 1, 2, 3, tzinfo=UTC), datetime(2054, 12, 31, 23, 59, 59, tzinfo=UTC)
CN = x509.NameOID.COMMON_NAME
KEY = ec.generate_private_key(ec.SECP256R1())
ISSUER = x509.Name([x509.NameAttribute(CN, "an issuer"), x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Org")])

PrivateKey = (
    ec.EllipticCurvePrivateKey
    | rsa.RSAPrivateKey
    | dsa.DSAPrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
)


def made(
    *names: x509.NameAttribute[str],
    sans: tuple[x509.GeneralName, ...] = (),
    ca: bool | None = None,
    key: PrivateKey = KEY,
    signer: PrivateKey = KEY,
    serial: int = 0xBEEF,
    not_before: datetime = NOT_BEFORE,
    not_after: datetime = NOT_AFTER,
    issuer: x509.Name = ISSUER,
    extensions: tuple[x509.ExtensionType, ...] = (),
) -> bytes:
    """The DER of a real certificate."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(names))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(not_before)
        .not_valid_after(not_after)
    )
    if sans:
        builder = builder.add_extension(x509.SubjectAlternativeName(sans), critical=False)
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    for each in extensions:
        builder = builder.add_extension(each, critical=False)
    edwards = isinstance(signer, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey)
    return builder.sign(signer, None if edwards else hashes.SHA256()).public_bytes(Encoding.DER)


def common_name(text: str) -> x509.NameAttribute[str]:
    with warnings.catch_warnings():
        # RFC 5280 allows 1 to 64 characters; real certificates have fewer and more.
        warnings.simplefilter("ignore")
        return x509.NameAttribute(CN, text, _validate=False)


def read(der: bytes) -> Certificate:
    reading = read_certificate(der)
    assert reading.invalid is None
    assert reading.certificate is not None
    return reading.certificate


@cache
def ordinary() -> bytes:
    sans = (x509.DNSName("backend.example.com"), x509.IPAddress(ipaddress.ip_address("10.0.0.1")))
    return made(common_name("backend"), sans=sans, ca=False)


def test_everything_is_read_from_an_ordinary_certificate() -> None:
    assert read(ordinary()) == Certificate(
        cert_id=sha256(ordinary()).hexdigest(),
        not_before=NOT_BEFORE,
        not_after=NOT_AFTER,
        common_name="backend",
        sans=("backend.example.com", "10.0.0.1"),
        subject="CN=backend",
        issuer="O=Org,CN=an issuer",
        serial_number="beef",
        key_type="ec-secp256r1",
        signature_algorithm="ecdsa-with-SHA256",
        is_ca=False,
        self_issued=False,
    )


def test_what_a_certificate_does_not_have_is_absent() -> None:
    bare = read(made())

    assert (bare.common_name, bare.sans, bare.is_ca) == (None, (), False)
    assert bare.subject == ""


@pytest.mark.parametrize(
    ("der", "name"),
    [
        (made(common_name("backend"), sans=(x509.DNSName("a.example"),)), "backend"),
        (made(common_name("first"), common_name("second")), "first"),
        (made(sans=(x509.DNSName("a.example"), x509.DNSName("b.example"))), "a.example"),
        (made(common_name(""), sans=(x509.DNSName("a.example"),)), "a.example"),
        (made(sans=(x509.IPAddress(ipaddress.ip_address("2001:db8::1")),)), "2001:db8::1"),
        (made(sans=(x509.UniformResourceIdentifier("spiffe://example/orders"),)), "spiffe://example/orders"),
        (made(sans=(x509.RFC822Name("sre@example.com"),)), "sre@example.com"),
        (made(sans=(x509.DirectoryName(ISSUER), x509.DNSName("a.example"))), "a.example"),
    ],
)
def test_the_name_is_the_common_name_or_else_the_first_san(der: bytes, name: str) -> None:
    assert read(der).cert_name == name


def test_without_any_name_the_name_is_the_beginning_of_the_id() -> None:
    nameless = read(made())

    assert nameless.cert_name == nameless.cert_id[:16]


@pytest.mark.filterwarnings("ignore:Attribute's length:UserWarning")
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("evil\nlevel=ERROR", "evil�level=ERROR"),
        ("\x1b[2J\0", "�[2J�"),
        ("flip\u202etxt", "flip�txt"),
        ("n" * 256, "n" * 256),
        ("n" * 1000, "n" * 255 + "…"),
    ],
)
def test_names_are_made_safe_to_show(text: str, shown: str) -> None:
    hostile = read(made(common_name(text), issuer=x509.Name([common_name(text)])))

    assert hostile.cert_name == shown
    assert hostile.subject is not None
    assert hostile.subject.isprintable()
    assert hostile.issuer is not None
    assert hostile.issuer.isprintable()
    assert len(hostile.issuer) <= 256


def test_sans_are_made_safe_to_show() -> None:
    sans = (x509.DNSName._init_without_validation("a\nb"), x509.UniformResourceIdentifier("https://" + "u" * 300))
    first, second = read(made(sans=sans)).sans

    assert first == "a�b"
    assert len(second) == 256


def test_only_the_first_hundred_sans_are_kept() -> None:
    sans = tuple(x509.DNSName(f"host-{number}.example") for number in range(150))

    assert read(made(sans=sans)).sans == tuple(f"host-{number}.example" for number in range(100))


@pytest.mark.parametrize(
    ("key", "key_type"),
    [
        (ec.generate_private_key(ec.SECP384R1()), "ec-secp384r1"),
        (rsa.generate_private_key(65537, 2048), "rsa-2048"),
        (ed25519.Ed25519PrivateKey.generate(), "ed25519"),
        (ed448.Ed448PrivateKey.generate(), "ed448"),
    ],
)
def test_the_key_type_names_algorithm_and_size(key: PrivateKey, key_type: str) -> None:
    assert read(made(key=key)).key_type == key_type


@pytest.mark.parametrize(
    ("signer", "algorithm"),
    [
        (KEY, "ecdsa-with-SHA256"),
        (rsa.generate_private_key(65537, 2048), "sha256WithRSAEncryption"),
        (ed25519.Ed25519PrivateKey.generate(), "ed25519"),
    ],
)
def test_the_signature_algorithm_has_its_usual_name(signer: PrivateKey, algorithm: str) -> None:
    assert read(made(signer=signer)).signature_algorithm == algorithm


@pytest.mark.parametrize(("ca", "expected"), [(True, True), (False, False), (None, False)])
def test_an_authority_is_what_says_so_itself(ca: bool | None, expected: bool) -> None:  # noqa: FBT001
    assert read(made(ca=ca)).is_ca is expected


def test_self_issued_is_what_names_itself_as_its_issuer() -> None:
    assert read(made(*ISSUER)).self_issued
    assert not read(made(common_name("another"))).self_issued


ECDSA_WITH_SHA256 = bytes.fromhex("06082a8648ce3d040302")
EC_PUBLIC_KEY = bytes.fromhex("06072a8648ce3d0201")


@pytest.mark.parametrize(
    "der",
    [
        # Names, an extension, a key and a signature algorithm that no parser knows or accepts.
        ordinary().replace(b"\x0c\x07backend", b"\x0c\x07\xff\xff\xff\xff\xff\xff\xff"),
        ordinary().replace(b"backend.example.com", b"backend.\xff\xff\xff\xff\xff\xff\xff.com"),
        ordinary().replace(bytes.fromhex("0603551d11"), bytes.fromhex("0603551d13")),
        ordinary().replace(EC_PUBLIC_KEY, EC_PUBLIC_KEY[:-1] + b"\x7f"),
        ordinary().replace(ECDSA_WITH_SHA256, ECDSA_WITH_SHA256[:-1] + b"\x7f"),
        ordinary() + b"trailing",
        # A version that does not exist.
        ordinary().replace(bytes.fromhex("a003020102"), bytes.fromhex("a003020109")),
    ],
)
def test_nothing_hides_the_dates(der: bytes) -> None:
    assert der != ordinary()
    assert (read(der).not_before, read(der).not_after) == (NOT_BEFORE, NOT_AFTER)


def test_an_extension_that_cannot_be_read_hides_only_itself() -> None:
    broken = ordinary().replace(b"\x82\x13backend.example.com", b"\x82\x13\xff\xff\xff\xff\xff\xff\xff.example.com")

    assert read(broken).sans == ()
    assert read(broken).common_name == "backend"
    assert read(broken).serial_number == "beef"


def test_a_serial_number_that_is_not_positive_does_not_hide_the_dates() -> None:
    negative = ordinary().replace(bytes.fromhex("020300beef"), bytes.fromhex("0203ffbeef"))

    assert negative != ordinary()
    assert read(negative).not_after == NOT_AFTER


@pytest.mark.parametrize(
    ("der", "reason"),
    [
        (b"", InvalidReason.UNREADABLE),
        (b"not a certificate", InvalidReason.UNREADABLE),
        (ordinary()[:40], InvalidReason.UNREADABLE),
        (ordinary().replace(b"20541231235959Z", b"20541331235959Z"), InvalidReason.BAD_TIME),
        (ordinary().replace(b"20541231235959Z", b"00001231235959Z"), InvalidReason.BAD_TIME),
        (ordinary().replace(b"240229010203Z", b"240230010203Z"), InvalidReason.BAD_TIME),
        (ordinary().replace(b"240229010203Z", b"not an instan"), InvalidReason.BAD_TIME),
    ],
)
def test_what_has_no_readable_dates_has_a_reason(der: bytes, reason: InvalidReason) -> None:
    reading = read_certificate(der)

    assert (reading.certificate, reading.invalid) == (None, reason)
    assert reading.detail


@pytest.mark.parametrize(
    ("not_before", "not_after"),
    [
        (NOT_BEFORE, NOT_AFTER),
        (datetime(1950, 1, 1, tzinfo=UTC), datetime(1950, 1, 2, tzinfo=UTC)),
        (datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC), datetime(2000, 1, 1, tzinfo=UTC)),
        (datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC), datetime(2050, 1, 1, tzinfo=UTC)),
        (datetime(2026, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_the_walk_finds_the_dates_that_the_library_finds(not_before: datetime, not_after: datetime) -> None:
    der = made(not_before=not_before, not_after=not_after)

    assert validity(der) == (not_before, not_after)
    assert (read(der).not_before, read(der).not_after) == (not_before, not_after)


@settings(deadline=None, max_examples=50)
@given(
    st.datetimes(datetime(1950, 1, 1), datetime(9000, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    st.timedeltas(timedelta(0), timedelta(days=300_000)),
    st.integers(1, 2**159 - 1),
)
def test_the_walk_agrees_with_the_library_on_every_valid_certificate(
    start: datetime, lifetime: timedelta, serial: int
) -> None:
    not_before = start.replace(microsecond=0)
    parsed = x509.load_der_x509_certificate(
        der := made(not_before=not_before, not_after=not_before + lifetime, serial=serial)
    )

    assert validity(der) == (parsed.not_valid_before_utc, parsed.not_valid_after_utc)


def is_told(reading: Reading) -> bool:
    """Either the dates or a reason, with the reason in words."""
    if reading.certificate is not None:
        shown = reading.certificate.cert_name.encode()
        return bool(shown) and reading.certificate.not_after.tzinfo is UTC and reading.invalid is None
    return reading.invalid in {InvalidReason.UNREADABLE, InvalidReason.BAD_TIME} and bool(reading.detail)


@given(st.binary(max_size=300))
def test_random_bytes_never_raise(der: bytes) -> None:
    assert is_told(read_certificate(der))


@settings(deadline=None)
@given(st.integers(0, len(ordinary())))
def test_a_certificate_cut_anywhere_never_raises(length: int) -> None:
    assert is_told(read_certificate(ordinary()[:length]))


@settings(deadline=None, max_examples=500)
@given(st.lists(st.tuples(st.integers(0, len(ordinary()) - 1), st.integers(0, 255)), min_size=1, max_size=6))
def test_a_certificate_with_changed_bytes_never_raises(changes: list[tuple[int, int]]) -> None:
    der = bytearray(ordinary())
    for position, value in changes:
        der[position] = value

    assert is_told(read_certificate(bytes(der)))
