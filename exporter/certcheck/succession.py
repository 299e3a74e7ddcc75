"""Whether a chain can take the place of the one in use, as far as that can be told without who verifies it."""

from __future__ import annotations

from collections.abc import Sequence

from exporter.certcheck.issuing import Link, Linked, is_self_signed, issued, same_issuer
from exporter.certcheck.suitability import Check, fails, passes, unknown


def check_chain_to_upstream(candidate: Linked, present: Sequence[Link], known: Sequence[Link]) -> Check:
    """Of a certificate that is presented to an upstream. What the upstream trusts is not known here.

    `present` is the chain in use, leaf first, if it can be read; `known` are other certificates whose keys may tell.
    """
    if stray := _stray(candidate):
        return stray
    if left_out := _left_out(candidate, present):
        return unknown(f"it leaves out its issuer {left_out}, which is sent at present: the upstream may miss it")
    return _succession(candidate, present, known, "the upstream")


def check_chain_of_listener(candidate: Linked, present: Sequence[Link]) -> Check:
    """Of a certificate that a listener serves: its issuers in order, none left out but the last, a root."""
    if stray := _stray(candidate):
        return stray
    if not candidate.in_order:
        return fails("its issuers are not in order: each has to stand behind what it has issued")
    if left_out := _left_out(candidate, present):
        return fails(f"it leaves out its issuer {left_out}, which is sent at present")
    if len(candidate.path) > 1 and is_self_signed(candidate.top):
        return passes(f"it goes up to the root {candidate.top.certificate.cert_name}")
    return _succession(candidate, present, (), "clients")


def _stray(candidate: Linked) -> Check | None:
    names = ", ".join(each.certificate.cert_name for each in candidate.strays)
    return fails(f"it holds {names}, which has issued nothing in it") if names else None


def _left_out(candidate: Linked, present: Sequence[Link]) -> str | None:
    """The issuer that is sent at present, is no root, and is not in the candidate."""
    issuers = (each for each in present[1:] if issued(each, candidate.top) and not is_self_signed(each))
    return next((each.certificate.cert_name for each in issuers if each != candidate.top), None)


def _succession(candidate: Linked, present: Sequence[Link], known: Sequence[Link], verifier: str) -> Check:
    top = candidate.top
    if len(candidate.path) == 1 and is_self_signed(top):
        return unknown(f"it is self-signed: whether {verifier} would take it is not known here")
    keys = [*candidate.path[1:], *present[1:], *known]
    for each in present:
        issuer = same_issuer(top, each, keys) if top != each else each
        if issuer is not None:
            name = issuer if isinstance(issuer, str) else issuer.certificate.cert_name
            return passes(f"{name} has issued it, as it has the certificate in use")
    return unknown(f"whether {verifier} would trust {top.certificate.issuer}, its issuer, is not known here")
