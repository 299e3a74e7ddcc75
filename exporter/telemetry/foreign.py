"""The labels that other exporters give a certificate, at a place: the path of its file, or HOST:PORT of its server."""

from __future__ import annotations

import json
from collections.abc import Iterable
from ipaddress import ip_address
from pathlib import PurePath
from typing import TypeAlias

from exporter.certcheck.certificate import Certificate
from exporter.certcheck.distinguished_name import first_values

Attributes: TypeAlias = dict[str, str | int | None]


def of_file(place: str) -> Attributes:
    """Which file."""
    return {"filename": PurePath(place).name, "filepath": place}


def x509(place: str, certificate: Certificate) -> Attributes:
    """Of `x509_cert_*`, for a file."""
    return {
        **of_file(place),
        "serial_number": _decimal(certificate.serial_number),
        **{f"issuer_{key}": value for key, value in first_values(certificate.issuer).items()},
        **{f"subject_{key}": value for key, value in _subject_of(certificate).items()},
    }


def _ssl_common(certificate: Certificate) -> Attributes:
    dns, ips, emails = (",".join(each) for each in _by_kind(certificate.sans))
    subject = _subject_of(certificate)
    # What is a list begins and ends with a comma there, to be matched by `,name,`.
    return {
        "serial_no": _decimal(certificate.serial_number),
        "issuer_cn": first_values(certificate.issuer).get("CN", ""),
        "cn": subject.get("CN", ""),
        **{
            name: f",{value},"
            for name, value in (("dnsnames", dns), ("ips", ips), ("emails", emails), ("ou", subject.get("OU")))
            if value
        },
    }


def ssl(place: str, certificate: Certificate) -> Attributes:
    """Of `ssl_cert_*`, for HOST:PORT."""
    return {"target": place, **_ssl_common(certificate)}


def ssl_verified(place: str, certificate: Certificate) -> Attributes:
    """Of `ssl_verified_cert_*`, for HOST:PORT."""
    return {"target": place, "chain_no": "0", **_ssl_common(certificate)}


def ssl_file(place: str, certificate: Certificate) -> Attributes:
    """Of `ssl_file_cert_*`, for a file."""
    return {"file": place, **_ssl_common(certificate)}


def probe(place: str, certificate: Certificate) -> Attributes:
    """Of `probe_ssl_last_chain_info`, for HOST:PORT."""
    return {
        "target": place,
        "fingerprint_sha256": certificate.cert_id,
        "subject": certificate.subject,
        "issuer": certificate.issuer,
        "subjectalternative": ",".join(_by_kind(certificate.sans)[0]),
        "serialnumber": _even(certificate.serial_number),
    }


def tlscheck(place: str, certificate: Certificate) -> Attributes:
    """Of `tlscheck.time_left`, for HOST:PORT or a file."""
    return {
        "tlscheck.x509.issuer": certificate.issuer,
        "tlscheck.x509.cn": certificate.common_name,
        "tlscheck.x509.san": json.dumps(certificate.sans, separators=(",", ":"), ensure_ascii=False),
        "tlscheck.target": place,
    }


def _decimal(serial_number: str | None) -> str | None:
    try:
        return None if serial_number is None else str(int(serial_number, 16))
    except ValueError:
        # Cut off, for it was too long.
        return None


def _even(serial_number: str | None) -> str | None:
    return serial_number and serial_number.zfill(len(serial_number) + len(serial_number) % 2)


def _subject_of(certificate: Certificate) -> dict[str, str]:
    found = first_values(certificate.subject)
    return found or ({"CN": certificate.common_name} if certificate.common_name else {})


def _by_kind(sans: Iterable[str]) -> tuple[list[str], list[str], list[str]]:
    """DNS names, IP addresses and e-mail addresses; the last kind, URIs, those exporters leave out."""
    dns: list[str] = []
    addresses: list[str] = []
    emails: list[str] = []
    for san in sans:
        if "://" in san:
            continue
        (addresses if _is_address(san) else emails if "@" in san else dns).append(san)
    return dns, addresses, emails


def _is_address(san: str) -> bool:
    try:
        ip_address(san)
    except ValueError:
        return False
    return True
