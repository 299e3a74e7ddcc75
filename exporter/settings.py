"""The configuration as a whole: the gateway's file and the definitions it names, read, validated, cross-checked."""

from __future__ import annotations

import glob
import ipaddress
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from exporter.certificates.files import CertificateFiles
from exporter.config import REDACTED, ApiDefinition, Configuration
from exporter.documents import read_json, read_yaml
from exporter.problems import ConfigError, Problem, dotted
from exporter.sight import Sight, look
from exporter.target import is_address, match_pattern
from exporter.validation import did_you_mean, validate

_LARGEST = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Defined:
    """A definition and where it stands: in a file, inline in the gateway's file, or in a request."""

    api: ApiDefinition
    file: str
    base: tuple[str | int, ...] = ()

    def problem(self, path: tuple[str | int, ...], message: str) -> Problem:
        """A problem at a path of this definition."""
        return Problem(self.file, dotted((*self.base, *path)), message)


@dataclass(frozen=True, slots=True)
class Settings:
    """A configuration that holds together."""

    configuration: Configuration
    apis: tuple[Defined, ...]
    directory: Path
    """Paths in the file are relative to it."""
    token: bytes | None = field(default=None, repr=False)
    """For the admin listener, if one is set."""
    files: tuple[Path, ...] = ()
    """Every file that was read: a change of one is a change of the configuration."""
    globs: tuple[str, ...] = ()
    sight: Sight = field(default_factory=dict, repr=False)
    """How every file looked before it was read, those of the certificates included."""

    def watched(self) -> list[str]:
        """Every file whose change is a change: the configuration's, and those of all certificates."""
        references = self.configuration.certificates
        certificates = (path for each in references for path in self.certificate_files(each).paths())
        return [*map(str, self.files), *map(str, certificates)]

    def certificate_files(self, reference: str) -> CertificateFiles:
        """Where the certificate of this name is."""
        entry = self.configuration.certificates[reference]
        return CertificateFiles(
            self.directory / entry.cert_file,
            self.directory / entry.key_file if entry.key_file else None,
            self.directory / entry.passphrase_file if entry.passphrase_file else None,
        )


def read_settings(path: Path, environment: Mapping[str, str], cores: Collection[str]) -> Settings:
    """Read the gateway's file and all it names. Blocks.

    Raises:
        ConfigError: every problem of every file.
    """
    sight = look([str(path)])
    configuration = validate(Configuration, read_yaml(_text(path, str(path)), str(path), environment), str(path))
    problems = list(_own_problems(configuration, str(path), cores))
    defined: list[Defined] = []
    files, globs = [path], []
    for index, item in enumerate(configuration.apis):
        if isinstance(item, ApiDefinition):
            defined.append(Defined(item, str(path), ("apis", index)))
            continue
        pattern = str(path.parent / item)
        globs.append(pattern)
        found = [Path(name) for name in sorted(glob.glob(pattern, recursive=True))]
        if not found and not glob.has_magic(item):
            problems.append(Problem(str(path), dotted(("apis", index)), f"there is no file {item}"))
        files += found
        sight |= look(map(str, found))
        for name in found:
            try:
                document = read_yaml(_text(name, str(name)), str(name), environment)
                defined.append(Defined(validate(ApiDefinition, document, str(name)), str(name)))
            except ConfigError as exc:
                problems += exc.problems
    problems += definition_problems(configuration, defined)
    token = None
    if configuration.admin.token_file is not None:
        token_file = path.parent / configuration.admin.token_file
        files.append(token_file)
        sight |= look([str(token_file)])
        try:
            token = _token(token_file)
        except ConfigError as exc:
            problems += (Problem(str(path), "admin.token_file", each.message) for each in exc.problems)
    if problems:
        raise ConfigError(problems)
    settings = Settings(configuration, tuple(defined), path.parent, token, tuple(files), tuple(globs), sight)
    # The certificates are not read yet.
    sight |= look(each for each in settings.watched() if each not in sight)
    return settings


def read_definition(body: bytes, api_id: str) -> Defined:
    """The definition in a request's body, for the API it is sent to.

    Raises:
        ConfigError: every problem of it.
    """
    source = "request"
    document = read_json(body, source)
    if isinstance(document, dict):
        document.setdefault("api_id", api_id)
    problems = [Problem(source, dotted(path), f"is {REDACTED}: give its value") for path in _redacted(document, ())]
    if problems:
        raise ConfigError(problems)
    defined = Defined(validate(ApiDefinition, document, source), source)
    if defined.api.api_id != api_id:
        raise ConfigError([defined.problem(("api_id",), "must be the one in the request's path")])
    return defined


def definition_problems(configuration: Configuration, defined: Iterable[Defined]) -> list[Problem]:
    """What is wrong with definitions taken together, and with the certificates they name."""
    defined = list(defined)
    problems = [problem for each in defined for problem in _unknown_references(configuration, each)]
    problems += _repeated(defined, "api_id")
    problems += _repeated(defined, "listen_path")
    problems += (
        each.problem(("client_certificates",), "needs proxy.tls: clients present certificates over TLS only")
        for each in defined
        if each.api.client_certificates and configuration.proxy.tls is None
    )
    return problems


def warnings(settings: Settings) -> Iterator[Problem]:
    """What is allowed, but hardly meant."""
    for each in settings.apis:
        api, target = each.api, each.api.target
        if api.upstream_certificates and not api.upstream_certificates_disabled:
            if target.scheme == "http":
                yield each.problem(("upstream_certificates",), "is never used: target_url is not https")
            elif match_pattern(api.upstream_certificates, target) is None:
                address = " (an IP address matches only exactly)" if is_address(target.host) else ""
                yield each.problem(("upstream_certificates",), f"has no key that matches target_url{address}")
        if api.client_certificates:
            yield each.problem(("client_certificates",), "closes the API: this version verifies no client certificates")
        if any(api.event_handlers.values()):
            yield each.problem(("event_handlers",), "is not used: this version sends no webhooks")
    if any(settings.configuration.event_handlers.values()):
        yield Problem(str(settings.files[0]), "event_handlers", "is not used: this version sends no webhooks")


def _text(path: Path, shown: str) -> bytes:
    try:
        if path.stat().st_size > _LARGEST:
            raise ConfigError([Problem(shown, "", "is larger than 16 MiB")])
        return path.read_bytes()
    except OSError as exc:
        raise ConfigError([Problem(shown, "", f"cannot be read: {exc.strerror}")]) from None


def _token(path: Path) -> bytes:
    token = _text(path, str(path)).strip()
    if not token or not all(0x21 <= byte <= 0x7E for byte in token):
        raise ConfigError(
            [Problem(str(path), "", "names a file without a token: one line of visible ASCII characters")]
        )
    return token


def _own_problems(configuration: Configuration, file: str, cores: Collection[str]) -> Iterator[Problem]:
    proxy, admin = configuration.proxy, configuration.admin
    if proxy.core not in cores:
        yield Problem(file, "proxy.core", f"no core is named {proxy.core!r}{did_you_mean(proxy.core, cores)}")
    host = admin.listen.rpartition(":")[0].strip("[]")
    if admin.token_file is None and not ipaddress.ip_address(host).is_loopback:
        yield Problem(file, "admin.token_file", "is required: admin.listen is not a loopback address")
    references: list[tuple[tuple[str, ...], str | None]] = [
        *((("upstream_certificates", pattern), name) for pattern, name in configuration.upstream_certificates.items()),
    ]
    if proxy.tls is not None:
        references.append((("proxy", "tls", "certificate"), proxy.tls.certificate))
        references.append((("proxy", "tls", "client_ca"), proxy.tls.client_ca))
    if admin.tls is not None:
        references.append((("admin", "tls", "certificate"), admin.tls.certificate))
    for path, name in references:
        if (message := _unknown(configuration, name)) is not None:
            yield Problem(file, dotted(path), message)


def _unknown_references(configuration: Configuration, defined: Defined) -> Iterator[Problem]:
    api = defined.api
    references: list[tuple[tuple[str | int, ...], str | None]] = [
        *((("upstream_certificates", pattern), name) for pattern, name in api.upstream_certificates.items()),
        *((("client_certificates", index), name) for index, name in enumerate(api.client_certificates)),
        (("upstream_ca",), api.upstream_ca),
    ]
    for path, name in references:
        if (message := _unknown(configuration, name)) is not None:
            yield defined.problem(path, message)


def _unknown(configuration: Configuration, name: str | None) -> str | None:
    if name is None or name in configuration.certificates:
        return None
    return f"no certificate is named {name!r}{did_you_mean(name, configuration.certificates)}"


def _repeated(defined: Iterable[Defined], key: str) -> Iterator[Problem]:
    """A problem for each definition but the first that has the same value under `key`."""
    by_value: defaultdict[str, list[Defined]] = defaultdict(list)
    for each in defined:
        by_value[getattr(each.api, key)].append(each)
    for value, (first, *others) in by_value.items():
        for other in others:
            where = dotted((*first.base, key))
            yield other.problem((key,), f"{value!r} is taken already, by {first.file}: {where}")


def _redacted(document: object, path: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    if document == REDACTED:
        yield path
    elif isinstance(document, dict):
        for key, item in document.items():
            yield from _redacted(item, (*path, key))
    elif isinstance(document, list):
        for index, item in enumerate(document):
            yield from _redacted(item, (*path, index))
