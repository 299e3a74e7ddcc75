"""Opening what a passphrase has closed (PKCS#5 version 2, RFC 8018; PKCS#12, RFC 7292 appendix B), in bounded time.

The key derivations of the standard library let other threads run; those of `cryptography` do not.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

from cryptography.hazmat.decrepit.ciphers.algorithms import RC2, TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from exporter.certificates import rc2
from exporter.certificates.ber import INTEGER, OCTETS, SEQUENCE, BerError, Element, children, dotted

T = TypeVar("T")

MOST_ITERATIONS = 10_000_000
"""For all that one file asks for: 2 to 6 s."""

_MOST_SCRYPT_MEMORY = 64 * 1024 * 1024

_PBES2, _PBKDF2, _SCRYPT = "1.2.840.113549.1.5.13", "1.2.840.113549.1.5.12", "1.3.6.1.4.1.11591.4.11"
HASHES = {
    "1.3.14.3.2.26": "sha1",
    "2.16.840.1.101.3.4.2.4": "sha224",
    "2.16.840.1.101.3.4.2.1": "sha256",
    "2.16.840.1.101.3.4.2.2": "sha384",
    "2.16.840.1.101.3.4.2.3": "sha512",
    "1.2.840.113549.2.7": "sha1",
    "1.2.840.113549.2.8": "sha224",
    "1.2.840.113549.2.9": "sha256",
    "1.2.840.113549.2.10": "sha384",
    "1.2.840.113549.2.11": "sha512",
}
"""By their own identifiers, and those of HMAC with them."""

_Cipher: TypeAlias = type[AES | RC2 | TripleDES]
_RC2_40 = "1.2.840.113549.1.12.1.6"
# Cipher, and the length of its key in bytes.
_CIPHERS: dict[str, tuple[_Cipher, int]] = {
    "2.16.840.1.101.3.4.1.2": (AES, 16),
    "2.16.840.1.101.3.4.1.22": (AES, 24),
    "2.16.840.1.101.3.4.1.42": (AES, 32),
    "1.2.840.113549.3.7": (TripleDES, 24),
    # RFC 7292 appendix C.
    "1.2.840.113549.1.12.1.3": (TripleDES, 24),
    "1.2.840.113549.1.12.1.4": (TripleDES, 16),
    "1.2.840.113549.1.12.1.5": (RC2, 16),
    _RC2_40: (RC2, 5),
}
# What a block of RC2 in Python costs, in iterations.
_RC2_COST = 50


class WrongPassphraseError(Exception):
    """It does not open it."""


class UnsupportedError(Exception):
    """It is closed in a way that is not known here, or that costs too much. The text is for a person."""


@dataclass(slots=True)
class Passphrase:
    """A passphrase, and how much may still be spent on what is derived from it."""

    secret: bytes = field(repr=False)
    left: int = MOST_ITERATIONS
    is_null: bool = False
    """Whether an empty one is nothing at all: writers of PKCS#12 differ."""

    def spend(self, iterations: int) -> int:
        """Count what is about to be done.

        Raises:
            UnsupportedError: it is more than there is left.
        """
        if iterations < 1:
            raise BerError("not a number of iterations")
        if iterations > self.left:
            raise UnsupportedError(f"asks for more than {MOST_ITERATIONS:,} iterations to be opened")
        self.left -= iterations
        return iterations

    def wide(self) -> bytes:
        """As a BMPString with its end (RFC 7292 appendix B.1)."""
        if self.is_null:
            return b""
        try:
            text = self.secret.decode()
        except UnicodeDecodeError:
            text = self.secret.decode("latin-1")
        return (text + "\0").encode("utf-16-be")


def decrypt(algorithm: Element, data: bytes, passphrase: Passphrase) -> bytes:
    """What was encrypted. `algorithm` is an AlgorithmIdentifier.

    That the padding is right is no proof that the passphrase is: once in 256 times it is by chance.

    Raises:
        BerError, UnsupportedError, WrongPassphraseError
    """
    name, parameters = algorithm_of(algorithm)
    if name == _PBES2:
        derivation, scheme = children(parameters.raw)[:2]
        cipher, iv = algorithm_of(scheme)
        _, length = known(_CIPHERS, cipher)
        return _decrypted(cipher, _derived(derivation, length, passphrase), iv.octets(), data)
    _, length = known(_CIPHERS, name)
    if name == _RC2_40:
        passphrase.spend(len(data) // 8 * _RC2_COST + 1)
    salt, count = _salt_and_count(parameters)
    key, iv_bytes = (pkcs12_derived("sha1", passphrase, salt, count, *each) for each in ((1, length), (2, 8)))
    return _decrypted(name, key, iv_bytes, data)


def unlocked_key(encrypted: bytes, passphrase: Passphrase) -> bytes:
    """The PrivateKeyInfo in an EncryptedPrivateKeyInfo (RFC 5958 section 3), both DER."""
    algorithm, data = children(encrypted)[:2]
    key = decrypt(algorithm, data.octets(), passphrase)
    if not is_private_key_info(key):
        raise WrongPassphraseError
    return key


def is_private_key_info(der: bytes) -> bool:
    """Whether it is one (RFC 5958 section 2), going by what it is made of."""
    try:
        return [each.tag for each in children(der)[:3]] == [INTEGER, SEQUENCE, OCTETS]
    except BerError:
        return False


def pbkdf2(parameters: Element, length: int | None, passphrase: Passphrase) -> bytes:
    """RFC 8018 section 5.2, by its parameters. `length` None: the one that they give."""
    salt, iterations, *rest = children(parameters.raw)
    given = next((each.number() for each in rest if each.tag == INTEGER), None)
    hmac = next((known(HASHES, algorithm_of(each)[0]) for each in rest if each.tag == SEQUENCE), "sha1")
    size = length or given or 0
    if not 1 <= size <= 64:
        raise BerError("not the length of a key")
    blocks = -(-size // hashlib.new(hmac).digest_size)
    count = passphrase.spend(blocks * iterations.number()) // blocks
    return hashlib.pbkdf2_hmac(hmac, passphrase.secret, salt.octets(), count, size)


def pkcs12_derived(  # noqa: PLR0917 as the standard has them
    digest: str, passphrase: Passphrase, salt: bytes, iterations: int, purpose: int, size: int
) -> bytes:
    """RFC 7292 appendix B.2. The purpose is 1 for a key, 2 for an initialisation vector, 3 for a MAC's key."""
    hashed, made, wanted = getattr(hashlib, digest), b"", size
    block = hashed().block_size
    state = _filled(salt, block) + _filled(passphrase.wide(), block)
    while len(made) < wanted:
        value = bytes([purpose]) * block + state
        for _ in range(passphrase.spend(iterations)):
            value = hashed(value).digest()
        made += value
        state = _plus_one_and(state, _filled(value, block)[:block])
    return made[:wanted]


def _salt_and_count(parameters: Element) -> tuple[bytes, int]:
    salt, count = children(parameters.raw)[:2]
    return salt.octets(), count.number()


def _filled(data: bytes, block: int) -> bytes:
    """Repeated until it fills whole blocks."""
    size = -(-len(data) // block) * block
    return (data * -(-size // max(len(data), 1)))[:size]


def _plus_one_and(state: bytes, addend: bytes) -> bytes:
    block, number = len(addend), int.from_bytes(addend, "big") + 1
    parts = (int.from_bytes(state[at : at + block], "big") for at in range(0, len(state), block))
    return b"".join(((part + number) % (1 << 8 * block)).to_bytes(block, "big") for part in parts)


def _derived(derivation: Element, length: int, passphrase: Passphrase) -> bytes:
    name, parameters = algorithm_of(derivation)
    if name == _PBKDF2:
        return pbkdf2(parameters, length, passphrase)
    if name == _SCRYPT:
        return _scrypt(parameters, length, passphrase)
    raise UnsupportedError(f"is encrypted in a way that is not supported ({name})")


def _scrypt(parameters: Element, length: int, passphrase: Passphrase) -> bytes:
    """RFC 7914 section 7.1."""
    salt, *rest = children(parameters.raw)[:4]
    cost, block, parallel = (each.number() for each in rest)
    passphrase.spend(cost * block * parallel)
    try:
        return hashlib.scrypt(
            passphrase.secret, salt=salt.octets(), n=cost, r=block, p=parallel, maxmem=_MOST_SCRYPT_MEMORY, dklen=length
        )
    except (ValueError, TypeError, OverflowError):
        raise UnsupportedError("asks for too much memory to be opened") from None


def _decrypted(name: str, key: bytes, iv: bytes, data: bytes) -> bytes:
    """Without its padding (RFC 8018 section 6.1.1)."""
    make, _ = _CIPHERS[name]
    if not data or len(iv) * 8 != make.block_size or len(data) % len(iv):
        raise BerError("not whole blocks")
    if name == _RC2_40:
        plain = rc2.decrypt_cbc(key, iv, data)
    else:
        # Two keys of 3DES are three, the last one the first again.
        whole = key + key[:8] if make is TripleDES and len(key) == 16 else key
        decryptor = Cipher(make(whole), CBC(iv)).decryptor()
        plain = decryptor.update(data) + decryptor.finalize()
    padding = plain[-1]
    if not 1 <= padding <= len(iv) or plain[-padding:] != bytes([padding]) * padding:
        raise WrongPassphraseError
    return plain[:-padding]


def algorithm_of(element: Element) -> tuple[str, Element]:
    """An AlgorithmIdentifier: what it names, and its parameters; NULL where there are none."""
    name, *parameters = children(element.raw)
    return dotted(name), parameters[0] if parameters else Element(0x05, b"", b"\x05\0")


def known(table: dict[str, T], name: str) -> T:
    """What the table has under an object identifier.

    Raises:
        UnsupportedError: nothing.
    """
    if name not in table:
        raise UnsupportedError(f"is encrypted in a way that is not supported ({name})")
    return table[name]
