"""How many certificate files are read in a second of CPU, and how much memory that takes."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from benchmarks.tables import spread, table

TITLE = "Reading certificates"
TEXT = """\
Files of one certificate each (PEM, EC P-256, one SAN, key usages, one of ten issuers), read and described one after the
other with `read_watched`, in a process of its own that keeps all of them. The files are in the page cache. Files per
second of CPU is by the process's own time, user and system. Memory is the most that was resident; *before* is the same
process with everything imported and nothing read. {rounds} rounds.
"""
_ISSUERS = 10


@dataclass(frozen=True, slots=True)
class Size:
    files: int = 5_000
    rounds: int = 7


QUICK = Size(files=50, rounds=1)


@dataclass(slots=True)
class Measured:
    per_cpu_second: list[float] = field(default_factory=list)
    before_mib: list[float] = field(default_factory=list)
    peak_mib: list[float] = field(default_factory=list)


def report(size: Size) -> str:
    """The section of the results."""
    measured = Measured()
    with tempfile.TemporaryDirectory(prefix="certgauge-bench-") as name:
        _write(Path(name), size.files)
        for _ in range(size.rounds):
            command = [sys.executable, "-m", "benchmarks.reading", name]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
            for values, value in zip(
                (measured.per_cpu_second, measured.before_mib, measured.peak_mib), output, strict=True
            ):
                values.append(float(value))
    kib = (median(measured.peak_mib) - median(measured.before_mib)) * 1024 / size.files
    row = [f"{size.files:,}", spread(measured.per_cpu_second, ",.0f"), spread(measured.before_mib, ".1f")]
    row += [spread(measured.peak_mib, ".1f"), f"{kib:.1f}"]
    head = ["files", "files per CPU second", "before, MiB", "peak, MiB", "per file, KiB"]
    return f"{TITLE}\n\n{TEXT.format(rounds=size.rounds)}\n{table(head, [row])}"


def _write(directory: Path, files: int) -> None:
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    for number in range(files):
        host = f"host-{number}.example.internal"
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(host))
            .issuer_name(_name(f"Issuing CA {number % _ISSUERS}"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now)
            .not_valid_after(now + timedelta(days=number % 400))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
            .add_extension(usage, critical=True)
            .add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        )
        pem = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
        (directory / f"{number}.pem").write_bytes(pem)


def _name(common_name: str) -> x509.Name:
    organization = x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Example")
    return x509.Name([organization, x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])


def _measure(directory: Path) -> None:
    """In a process of its own: prints files per CPU second, and MiB before and at the peak."""
    from exporter.certificates.files import CertificateFiles, read_watched

    files = [CertificateFiles(path) for path in sorted(directory.iterdir())]
    for each in files:
        each.cert_file.read_bytes()
    read_watched("warm", files[0])
    before, started_at = _peak_mib(), time.process_time()
    read = [read_watched("watched", each) for each in files]
    seconds = time.process_time() - started_at
    if any(each.problem for each in read):
        raise RuntimeError("a certificate could not be read")
    print(len(files) / seconds, before, _peak_mib())


def _peak_mib() -> float:
    # Not `getrusage`: its maximum begins with that of the process that started this one.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


if __name__ == "__main__":
    _measure(Path(sys.argv[1]))
