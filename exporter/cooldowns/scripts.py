"""What Redis does in one step: the verbs of a store, as scripts, in the server's time.

A key holds text of one of two forms; times are milliseconds of the server's clock:

    claim STARTED ENDS KEPT OWNER EVENT_ID      KEPT: for how long after the lease the event's id is remembered
    told STARTED ENDS

What is found is held against the clock and against what was asked for, so that neither a clock that was set back nor
somebody else's value can silence an event for long. Another form is an error, as another type is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha1

_PREAMBLE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local value = redis.call('GET', KEYS[1])
local kind, started, ends, kept, owner, id
if value then
    kind, started, ends = string.match(value, '^(told) (%d+) (%d+)$')
    if not kind then
        kind, started, ends, kept, owner, id = string.match(value, '^(claim) (%d+) (%d+) (%d+) (%S+) (.+)$')
    end
    if not kind then return redis.error_reply('WRONGTYPE not a cooldown') end
    started, ends, kept = tonumber(started), tonumber(ends), tonumber(kept)
end
local function runs(longest) return started <= now and now < ends and ends - now <= longest end
local function claim(by, event_id, lease, kept)
    local text = string.format('claim %.0f %.0f %.0f %s %s', now, now + lease, kept, by, event_id)
    redis.call('SET', KEYS[1], text, 'PX', string.format('%.0f', lease + kept + 1))
end
"""

_CLAIM = """
local lease, cooldown = tonumber(ARGV[3]), tonumber(ARGV[4])
if value and runs(kind == 'claim' and lease or cooldown) then return false end
if not id then id = ARGV[2] end
claim(ARGV[1], id, lease, cooldown)
return id
"""

_RENEW = """
local lease = tonumber(ARGV[2])
if kind == 'claim' and owner == ARGV[1] and started <= now and now < ends then claim(owner, id, lease, kept) end
return 'OK'
"""

_START = """
local cooldown = tonumber(ARGV[1])
if cooldown == 0 then redis.call('DEL', KEYS[1]) else
    local text = string.format('told %.0f %.0f', now, now + cooldown)
    redis.call('SET', KEYS[1], text, 'PX', ARGV[1])
end
return 'OK'
"""

_RELEASE = """
if kind == 'claim' and owner == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 'OK'
"""


@dataclass(frozen=True)
class Script:
    """A script, and the name that the server knows it by once it has run."""

    source: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        # What Redis calls it; nothing is protected by it.
        object.__setattr__(self, "sha", sha1(self.source.encode(), usedforsecurity=False).hexdigest())


CLAIM = Script(_PREAMBLE + _CLAIM)
"""KEYS: key. ARGV: owner, event_id, lease, cooldown. Returns the id, or nothing."""
RENEW = Script(_PREAMBLE + _RENEW)
"""KEYS: key. ARGV: owner, lease."""
START = Script(_PREAMBLE + _START)
"""KEYS: key. ARGV: cooldown."""
RELEASE = Script(_PREAMBLE + _RELEASE)
"""KEYS: key. ARGV: owner."""
PRESENT = Script("redis.call('DEL', KEYS[1]) return 'OK'")
"""KEYS: one that is never there. A write that changes nothing: it fails where others would."""
