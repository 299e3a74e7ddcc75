"""What a request becomes on its way to an API's upstream. Pure."""

from __future__ import annotations

from exporter.gateway import Api
from exporter.proxy.core import Fields, UpstreamRequest
from exporter.proxy.heads import RequestHead


def outgoing(head: RequestHead, content: bytes, api: Api, forwarded: Fields) -> UpstreamRequest:
    """The request as it goes to the API's upstream: with its Host, and X-Forwarded-* as seen by us.

    `forwarded` is what these say of the client.
    """
    plan = api.plan
    target = outgoing_target(head.target, plan.listen_path if plan.strip_listen_path else b"", api.base)
    host = head.host or api.authority if plan.preserve_host_header else api.authority
    asked = b"x-forwarded-host: %b\r\n" % head.host if head.host else b""
    fields = b"host: %b\r\n%b%b%b" % (host, head.fields, forwarded, asked)
    return UpstreamRequest(head.method, target, fields, head.length, content, head.upgrade)


def outgoing_target(target: bytes, listen_path: bytes, base: bytes) -> bytes:
    """What to ask for: what follows the listen path (empty: all of it), query included, appended to `base`.

    No byte of it is changed; one slash is put where the two meet, if neither brings one.
    """
    rest = target[len(listen_path) :]
    if listen_path.endswith(b"/"):
        return (base if base.endswith(b"/") else base + b"/") + rest
    return base.removesuffix(b"/") + rest if rest.startswith(b"/") else base + rest
