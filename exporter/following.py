"""Following files in small steps: which are meant, which look different, what they hold now. All of this blocks."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice
from os import fsencode
from time import monotonic, sleep

from exporter.certcheck.slot import Observation, Role
from exporter.globs import Found, expand
from exporter.sight import look
from exporter.watched_file import Entry, Meant, WatchedFile

_MOST_LOOKS = 10
_MOST_CHANGES = 200
"""After so many certificates a step ends."""
_MOST_PER_SLICE = 50
_EXPANDING_SHARE = 0.01
"""Of the time: what looking into directories may take."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast files are followed, in seconds."""

    start: float = 30.0
    """For finding and reading everything, at full speed, before anything is served."""
    round: float = 8.0
    """In which each file is looked at once."""
    expansion: float = 8.0
    """Between two looks into directories; more where they take long."""
    rest: float = 0.3
    """How long a file has to look the same before it is read: half a file may be a valid one."""
    slice: float = 0.0005
    """How long one step goes on finding and reading: for so long nothing else may run."""
    longest: float = 1.0
    """Between two steps."""
    shortest: float = 0.02
    """The same, where there is more to do."""


@dataclass(slots=True)
class Changes:
    """What is observed now in place of what was: at most a few hundred certificates."""

    taken: list[Observation] = field(default_factory=list)
    gone: list[Observation] = field(default_factory=list)
    certificates: int = 0
    ended: list[str] = field(default_factory=list)
    """References of files that are not there any more."""

    def exchange(self, old: Observation | None, new: Observation | None) -> None:
        """Note one more."""
        for observation, into in ((old, self.gone), (new, self.taken)):
            if observation is not None:
                into.append(observation)
                self.certificates += len(observation.chain)

    def __bool__(self) -> bool:
        return bool(self.taken or self.gone)


class Following:
    """The files that entries mean, step by step. One step at a time, on any thread."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._entries: tuple[Entry, ...] = ()
        self._files: dict[str, WatchedFile] = {}
        self._order: list[WatchedFile] = []
        self._next = 0
        self._expansion: Iterator[None] | None = None
        self._expands_at = 0.0
        self._spent = 0.0
        self._in_haste = False
        self._restless: deque[tuple[float, WatchedFile]] = deque()
        self._unread: deque[WatchedFile] = deque()
        self._looks_at = 0.0
        self._changes = Changes()

    @property
    def has_read_all(self) -> bool:
        """Nothing is left to find or to read, as far as is known."""
        return not (self._expansion or self._unread)

    @property
    def is_idle(self) -> bool:
        """There is nothing to follow."""
        return not self._entries and not self._files and self.has_read_all

    @property
    def pause(self) -> float:
        """Seconds until the next step."""
        pace = self._pace
        if self._unread or (self._expansion and self._in_haste):
            return pace.shortest
        pause = self._look_pause
        if self._expansion:
            pause = min(pause, 5 * pace.shortest)
        return min(pause, pace.rest) if self._restless else pause

    @property
    def _look_pause(self) -> float:
        slices = max(1.0, len(self._order) / _MOST_PER_SLICE)
        return min(max(self._pace.round / slices, self._pace.shortest), self._pace.longest)

    def follow(self, entries: tuple[Entry, ...]) -> None:
        """Mean these from now on: what they do not mean is let go, in the steps that come."""
        self._entries = entries
        self._in_haste = True
        self._spent = 0.0
        self._expansion = self._expanding(is_first=not self._files)

    def step(self, seconds: float) -> Changes:
        """Look, find and read for about so long; what has changed."""
        self._look(monotonic())
        self._look_again(monotonic() + seconds / 2)
        return self.find(seconds)

    def steps(self, seconds: float) -> Changes:
        """Step, and pause, for so long, or until something has changed: what it was."""
        until = monotonic() + seconds
        while not (changes := self.step(self._pace.slice)) and (now := monotonic()) < until:
            sleep(min(self.pause, until - now))
        return changes

    def find(self, seconds: float) -> Changes:
        """Find and read what is known to be new, without looking at the rest."""
        self._expand(monotonic() + seconds / 2)
        self._read(monotonic() + seconds / 2)
        changes, self._changes = self._changes, Changes()
        return changes

    def _look(self, now: float) -> None:
        """At the next few files of the round."""
        if now < self._looks_at:
            return
        order, pause = self._order, self._look_pause
        self._looks_at = now + 0.9 * pause
        if self._next >= len(order):
            self._next = 0
        count = max(_MOST_PER_SLICE, int(len(order) * pause / self._pace.round) + 1)
        for file in islice(order, self._next, self._next + count):
            if not file.is_queued and not file.is_dropped and not file.looks_as_read(sight := file.look()):
                self._await_rest(file, sight, now)
        self._next += count

    def _await_rest(self, file: WatchedFile, sight: str | None, now: float) -> None:
        file.is_queued, file.seen, file.looks = True, sight, 0
        self._restless.append((now + self._pace.rest, file))

    def _look_again(self, until: float) -> None:
        """What looks the same twice is read; what never does, after some looks."""
        while self._restless and self._restless[0][0] <= (now := monotonic()) < until:
            _, file = self._restless.popleft()
            before, file.seen = file.seen, file.look()
            file.looks += 1
            if file.seen == before or file.looks >= _MOST_LOOKS:
                self._unread.append(file)
            else:
                self._restless.append((now + self._pace.rest, file))

    def _read(self, until: float) -> None:
        while self._unread:
            file = self._unread.popleft()
            file.is_queued = False
            old = file.observation
            if file.is_dropped:
                continue
            if file.has_gone():
                self._drop(file)
            elif file.read():
                self._changes.exchange(old, file.observation)
            if monotonic() >= until or self._changes.certificates >= _MOST_CHANGES:
                return

    def _drop(self, file: WatchedFile) -> None:
        file.is_dropped = True
        del self._files[file.path]
        if file.observation is not None:
            self._changes.exchange(file.observation, None)
            self._changes.ended.append(file.meant.cert_ref)

    def _expand(self, until: float) -> None:
        started_at = monotonic()
        if self._expansion is None and started_at >= self._expands_at and self._entries:
            self._spent = 0.0
            self._expansion = self._expanding(is_first=False)
        for _ in self._expansion or ():
            if monotonic() >= until or self._changes.certificates >= _MOST_CHANGES:
                self._spent += monotonic() - started_at
                return
        if self._expansion is not None:
            now = monotonic()
            self._spent += now - started_at
            self._expands_at = now + max(self._pace.expansion, self._spent / _EXPANDING_SHARE)
            self._expansion, self._in_haste = None, False

    def _expanding(self, *, is_first: bool) -> Iterator[None]:
        """Find what is meant, then make it what is followed; a moment at a time."""
        meant: dict[str, Meant] = {}
        refs: dict[tuple[Role, str], str] = {}
        unlisted: list[str] = []
        for entry in self._entries:
            root = entry.pattern.root
            passphrase_sight = _sight_of(entry)
            for found in expand(entry.pattern):
                if found is not None and found.path not in meant:
                    if found.problem:
                        unlisted.append(f"{found.path}/")
                    ref = _unique(refs, entry, found, root)
                    meant[found.path] = Meant(found, entry, ref, passphrase_sight)
                yield
        for each in meant.values():
            self._take(each, is_first=is_first)
            yield
        for file in [*self._files.values()]:
            # What a directory holds that cannot be listed is not known: what was there stays.
            kept = file.path.startswith(tuple(unlisted)) and file.meant.entry in self._entries
            if file.path not in meant and not kept and not file.is_dropped:
                self._drop(file)
            yield
        self._order = [*self._files.values()]

    def _take(self, meant: Meant, *, is_first: bool) -> None:
        file = self._files.get(meant.found.path)
        if file is None:
            file = self._files[meant.found.path] = WatchedFile(meant)
            if is_first:
                file.is_queued = True
                self._unread.append(file)
            else:
                self._await_rest(file, file.look(), monotonic())
        elif file.meant != meant:
            self._become(file, meant)

    def _become(self, file: WatchedFile, meant: Meant) -> None:
        old = file.observation
        if file.become(meant) and not file.is_queued:
            file.is_queued = True
            self._unread.append(file)
        elif old is not None:
            file.observation = meant.observation(old.chain)
            self._changes.exchange(old, file.observation)


def _sight_of(entry: Entry) -> str | None:
    path = entry.passphrase_file
    return look([str(path)])[str(path)] if path else None


def _unique(refs: dict[tuple[Role, str], str], entry: Entry, found: Found, root: str) -> str:
    """The reference of a file, told apart from that of another one that is written alike."""
    ref = entry.reference(found.path, root)
    if refs.setdefault((entry.role, ref), found.path) == found.path:
        return ref
    ref = f"{ref} #{sha256(fsencode(found.path)).hexdigest()[:8]}"
    refs[entry.role, ref] = found.path
    return ref
