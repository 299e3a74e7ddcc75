"""The configuration as a whole: the gateway's file and the definitions it names, read, validated, cross-checked."""

from __future__ import annotations

import glob
import ipaddress
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from exporter.certcheck.text import one_line
from exporter.certificates.files import CertificateFiles
from exporter.config import ApiDefinition, Configuration
from exporter.documents import list_of, places_of, read_json, read_yaml, value_at
from exporter.globs import Pattern, expand
from exporter.problems import ConfigError, Problem, dotted
from exporter.sight import Watched, is_one_of, look
from exporter.state_files import secret, state_problems, state_warnings
from exporter.strict import REDACTED
from exporter.target import is_address, match_pattern
from exporter.validation import M, Steps, did_you_mean, named_files, unknown_references, validate
from exporter.watch_entry import WatchEntry

_LARGEST = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Defined:
    """A definition and where it stands: in a file, inline in the gateway's file, or in a request."""

    api: ApiDefinition
    file: str
    base: Steps = ()

    def problem(self, path: Steps, message: str) -> Problem:
        """A problem at a path of this definition."""
        return Problem(self.file, dotted((*self.base, *path)), message)


@dataclass(frozen=True, slots=True)
class Settings:
    """A configuration that holds together."""

    configuration: Configuration
    apis: tuple[Defined, ...]
    file: Path
    """The gateway's file; paths in it are relative to its directory."""
    token: bytes | None = field(default=None, repr=False)
    """For the admin listener, if one is set."""
    watched: Watched = field(default_factory=Watched, repr=False)
    """Every file whose change is a change: the configuration's, and what it names, unread as yet."""

    def certificate_files(self, reference: str) -> CertificateFiles:
        """Where the certificate of this name is."""
        entry = self.configuration.certificates[reference]
        return CertificateFiles(
            self.file.parent / entry.cert_file,
            self.file.parent / entry.key_file if entry.key_file else None,
            self.file.parent / entry.passphrase_file if entry.passphrase_file else None,
            entry.passphrase.get_secret_value().encode() if entry.passphrase else b"",
        )

    def pattern(self, entry: WatchEntry) -> Pattern:
        """Which files an entry of `watch` means."""
        return Pattern.of(self.file.parent, entry.files, entry.exclude)


class UnreadSettingsError(ConfigError):
    """A configuration is wrong. Says what was looked at, for a change of it may be the correction."""

    def __init__(self, problems: Iterable[Problem], watched: Watched) -> None:
        super().__init__(problems)
        self.watched = watched


def read_settings(path: Path, environment: Mapping[str, str], cores: Collection[str]) -> Settings:
    """Read the gateway's file and all it names. Blocks.

    Raises:
        UnreadSettingsError: every problem of every file.
    """
    reading, file = _Reading(environment), _shown(path)
    document = reading.document(path)
    configuration = reading.model(Configuration, document, file)
    reading.problems += unknown_references(document, value_at(document, "certificates"), file)
    defined = list(_definitions(reading, path, document, configuration))
    reading.problems += [*_repeated(defined, "api_id"), *_repeated(defined, "listen_path")]
    token = None
    if configuration is not None:
        reading.problems += [*_own_problems(configuration, file, cores), *_unserved_clients(configuration, defined)]
        reading.problems += state_problems(configuration, path.parent, file, reading.content)
        token = _token(reading, path.parent, configuration.admin.token_file, file)
    if configuration is None or reading.problems:
        raise UnreadSettingsError(_one_a_place(reading.problems), reading.watched)
    settings = Settings(configuration, tuple(defined), path, token, reading.watched)
    watched = reading.watched | _read_later(settings)
    kind, _, state = (configuration.state or "").partition(":")
    # A state file that is no database is moved aside; one of these would be missed.
    if kind == "sqlite" and is_one_of(path.parent / state, watched.files):
        raise UnreadSettingsError([Problem(file, "state", "names a file that the configuration uses")], watched)
    return replace(settings, watched=watched)


def _read_later(settings: Settings) -> Watched:
    references = settings.configuration.certificates
    paths = {str(path) for each in references for path in settings.certificate_files(each).paths()}
    for handlers in (settings.configuration.event_handlers, *(each.api.event_handlers for each in settings.apis)):
        for webhook in (handler.webhook for listed in handlers.values() for handler in listed):
            paths |= {str(settings.file.parent / name) for name in webhook.files}
    return Watched(frozenset(paths), sight=look(paths))


def read_definition(body: bytes, api_id: str) -> Defined:
    """The definition in a request's body, for the API it is sent to.

    Raises:
        ConfigError: every problem of it.
    """
    source = "request"
    document = read_json(body, source)
    if isinstance(document, dict):
        document.setdefault("api_id", api_id)
    problems = [
        Problem(source, dotted(path), f"is {REDACTED}: give its value") for path in places_of(REDACTED, document)
    ]
    problems += named_files(document, source)
    try:
        defined = Defined(validate(ApiDefinition, document, source), source)
    except ConfigError as exc:
        raise ConfigError(_one_a_place([*problems, *exc.problems])) from None
    if defined.api.api_id != api_id:
        problems.append(defined.problem(("api_id",), "must be the one in the request's path"))
    if problems:
        raise ConfigError(problems)
    return defined


def definition_problems(configuration: Configuration, defined: Iterable[Defined]) -> list[Problem]:
    """What is wrong with definitions taken together, and with the certificates they name."""
    defined = list(defined)
    return [
        *(
            problem
            for each in defined
            for problem in unknown_references(each.api.shown(), configuration.certificates, each.file, each.base)
        ),
        *_repeated(defined, "api_id"),
        *_repeated(defined, "listen_path"),
        *_unserved_clients(configuration, defined),
    ]


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
    yield from state_warnings(settings.configuration, _shown(settings.file))
    for index, entry in enumerate(settings.configuration.watch):
        if not any(expand(settings.pattern(entry))):
            yield Problem(_shown(settings.file), dotted(("watch", index)), "matches no file")


def _shown(path: Path) -> str:
    """A path as text that can be shown anywhere: what is not UTF-8 on disk is a lone surrogate in a name."""
    return one_line(str(path))


class _Reading:
    """Reads files one after the other, collecting what is wrong with any of them."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.problems: list[Problem] = []
        self.watched = Watched()
        self._environment = environment

    def content(self, path: Path) -> bytes:
        """What the file holds.

        Raises:
            ConfigError: it cannot be read.
        """
        self.watched |= Watched(frozenset({str(path)}), sight=look([str(path)]))
        try:
            with path.open("rb") as file:
                content = file.read(_LARGEST + 1)
        except OSError as exc:
            raise ConfigError([Problem(_shown(path), "", f"cannot be read: {exc.strerror}")]) from None
        if len(content) > _LARGEST:
            raise ConfigError([Problem(_shown(path), "", "is larger than 16 MiB")])
        return content

    def document(self, path: Path) -> Any:
        """The document in a file. None: there is none, which is a problem."""
        try:
            document = read_yaml(self.content(path), _shown(path), self._environment)
        except ConfigError as exc:
            self.problems += exc.problems
            return None
        self.problems += document.problems
        return document.value

    def model(self, model: type[M], document: Any, file: str) -> M | None:
        """A document that was read as a model. None: it cannot be, which is a problem."""
        if document is None:
            return None
        try:
            return validate(model, document, file)
        except ConfigError as exc:
            self.problems += exc.problems
            return None


def _definitions(
    reading: _Reading, path: Path, document: Any, configuration: Configuration | None
) -> Iterator[Defined]:
    """Each definition that is right, inline or in a file; also if something else is wrong, to tell all of it."""
    file, known = _shown(path), value_at(document, "certificates")
    for index, item in enumerate(list_of(value_at(document, "apis"))):
        if isinstance(item, str):
            pattern = str(Path(glob.escape(str(path.parent))) / item)
            reading.watched |= Watched(globs=frozenset({pattern}))
            found = sorted(glob.glob(pattern, recursive=True))
            if not found and not glob.has_magic(item):
                reading.problems.append(Problem(file, dotted(("apis", index)), f"there is no file {item}"))
            yield from _in_files(reading, map(Path, found), known)
        else:
            reading.problems += unknown_references(item, known, file, ("apis", index))
            if configuration is not None and isinstance(api := configuration.apis[index], ApiDefinition):
                yield Defined(api, file, ("apis", index))


def _in_files(reading: _Reading, paths: Iterable[Path], known: Any) -> Iterator[Defined]:
    for path in paths:
        # Once, however many patterns it matches.
        if str(path) in reading.watched.files:
            continue
        document, file = reading.document(path), _shown(path)
        api = reading.model(ApiDefinition, document, file)
        reading.problems += unknown_references(document, known, file)
        if api is not None:
            yield Defined(api, file)


def _token(reading: _Reading, directory: Path, name: str | None, file: str) -> bytes | None:
    if name is None:
        return None
    try:
        return secret(reading.content(directory / name), "token")
    except ConfigError as exc:
        reading.problems += (Problem(file, "admin.token_file", each.message) for each in exc.problems)
    except ValueError as exc:
        reading.problems.append(Problem(file, "admin.token_file", str(exc)))
    return None


def _one_a_place(problems: Iterable[Problem]) -> list[Problem]:
    """The first problem of each place: the others there follow from it."""
    first: dict[tuple[str, str], Problem] = {}
    for each in problems:
        first.setdefault((each.file, each.path), each)
    return list(first.values())


def _own_problems(configuration: Configuration, file: str, cores: Collection[str]) -> Iterator[Problem]:
    proxy, admin = configuration.proxy, configuration.admin
    if proxy.core not in cores:
        yield Problem(file, "proxy.core", f"no core is named {proxy.core!r}{did_you_mean(proxy.core, cores)}")
    host, _, port = admin.listen.rpartition(":")
    if admin.token_file is None and not ipaddress.ip_address(host.strip("[]")).is_loopback:
        yield Problem(file, "admin.token_file", "is required: admin.listen is not a loopback address")
    if admin.listen == proxy.listen and int(port):
        yield Problem(file, "admin.listen", "must not be the address of proxy.listen")


def _unserved_clients(configuration: Configuration, defined: Iterable[Defined]) -> Iterator[Problem]:
    for each in defined:
        if each.api.client_certificates and configuration.proxy.tls is None:
            message = "needs proxy.tls: clients present certificates over TLS only"
            yield each.problem(("client_certificates",), message)


def _repeated(defined: Iterable[Defined], key: str) -> Iterator[Problem]:
    """A problem for each definition but the first that has the same value under `key`."""
    by_value: defaultdict[str, list[Defined]] = defaultdict(list)
    for each in defined:
        by_value[getattr(each.api, key)].append(each)
    for value, (first, *others) in by_value.items():
        for other in others:
            where = dotted((*first.base, key))
            yield other.problem((key,), f"{value!r} is taken already, by {first.file}: {where}")
