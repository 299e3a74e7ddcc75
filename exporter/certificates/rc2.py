"""RC2 with a key of 40 bits (RFC 2268): what most PKCS#12 files of the past close their certificates with.

Good for opening those files and for nothing else. `cryptography` has it with 128 bits only.
"""

from __future__ import annotations

import struct

_PI = bytes.fromhex(
    "d978f9c419ddb5ed28e9fd794aa0d89dc67e37832b76538e624c6488448bfba2"
    "179a59f587b34f1361456d8d09817d32bd8f40eb86b77b0bf09521225c6b4e82"
    "54d66593ce60b21c7356c014a78cf1dc1275ca1f3bbee4d1423dd430a33cb626"
    "6fbf0eda4669075727f21d9bbc944303f811c7f690ef3ee706c3d52fc8661ed7"
    "08e8eade8052eef784aa72ac354d6a2a961ad2715a1549744b9fd05e0418a4ec"
    "c2e0416e0f51cbcc2491af50a1f47039997c3a8523b8b47afc02365b25559731"
    "2d5dfa98e38a92ae05df2910676cbac9d300e6cfe19ea82c6316013f58e289a9"
    "0d38341bab33ffb0bb480c5fb9b1cd2ec5f3db47e5a59c770aa62068fe7fc1ad"
)
_ROTATIONS = (1, 2, 3, 5)


def decrypt_cbc(key: bytes, iv: bytes, data: bytes) -> bytes:
    """`data` decrypted, padding and all. About 30 µs for each block of 8 bytes."""
    words, previous, plain = _expanded(key), iv, []
    for at in range(0, len(data), 8):
        block = data[at : at + 8]
        mixed = int.from_bytes(_block(words, block), "big") ^ int.from_bytes(previous, "big")
        plain.append(mixed.to_bytes(8, "big"))
        previous = block
    return b"".join(plain)


def _expanded(key: bytes) -> tuple[int, ...]:
    """RFC 2268 section 2, where the key has as many bits as count."""
    buffer, size = bytearray(key.ljust(128, b"\0")), len(key)
    for at in range(size, 128):
        buffer[at] = _PI[(buffer[at - 1] + buffer[at - size]) & 0xFF]
    buffer[128 - size] = _PI[buffer[128 - size]]
    for at in range(127 - size, -1, -1):
        buffer[at] = _PI[buffer[at + 1] ^ buffer[at + size]]
    return struct.unpack("<64H", buffer)


def _block(words: tuple[int, ...], block: bytes) -> bytes:
    """RFC 2268 section 4: the rounds of encryption backwards."""
    r = list(struct.unpack("<4H", block))
    for number in range(15, -1, -1):
        for i in (3, 2, 1, 0):
            turned = (r[i] >> _ROTATIONS[i] | r[i] << 16 - _ROTATIONS[i]) & 0xFFFF
            chosen = (r[i - 1] & r[i - 2]) + (~r[i - 1] & r[i - 3])
            r[i] = (turned - words[4 * number + i] - chosen) & 0xFFFF
        if number in {5, 11}:
            for i in (3, 2, 1, 0):
                r[i] = (r[i] - words[r[i - 1] & 63]) & 0xFFFF
    return struct.pack("<4H", *r)
