"""Scenes made by hypothesis, from what must go well to what nobody should do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from tests.proxy.fuzz_scenes import Answer, Client, Request, Scene

_sizes = st.one_of(st.integers(0, 60), st.sampled_from([0, 0, 1, 1000, 5000, 70_000, 200_000]))
_places = st.integers(0, 400)
_paces = st.sampled_from([1, 1, 5, 25])
_cuts = st.lists(_places, max_size=8).map(tuple)
_added = st.sampled_from(
    [b"", *(bytes([byte]) for byte in b"\r\n\0 \t:;0519afGZ\xff"), b"\r\n", b"\r\n\r\n", b"Content-Length: 3\r\n"]
)
_mutations = st.lists(st.tuples(_places, st.integers(0, 3), _added), min_size=1, max_size=2).map(tuple)
_requests = st.builds(
    Request,
    st.sampled_from(["GET", "GET", "POST", "PUT", "HEAD", "DELETE", "PURGE"]),
    _sizes,
    st.sampled_from([0, 0, 1, 7, 1000, 100_000]),
    st.just(False),
)
_leaving = st.tuples(st.sampled_from(["sent", "received"]), st.one_of(_places, st.integers(0, 100_000)))


def _reasonable(request: Request) -> Request:
    """With no more chunks than anybody has time for; and none expects to send nothing."""
    chunk = max(request.chunk, request.size // 100) if request.chunk else 0
    return replace(request, chunk=chunk, expects=request.expects and request.size > 0)


def _in_turn(requests: list[Request], *, ends_old: bool) -> tuple[Request, ...]:
    """The last one, if any, is of HTTP/1.0, after which there is no other; and that knows no chunks."""
    last = replace(requests[-1], version=b"1.0", chunk=0, expects=False) if ends_old else requests[-1]
    return (*requests[:-1], last)


def _clients(requests: st.SearchStrategy[Request], leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Client]:
    several = st.lists(requests.map(_reasonable), min_size=1, max_size=4)
    in_turn = st.builds(_in_turn, several, ends_old=st.sampled_from([False, False, False, True]))
    return st.builds(Client, in_turn, _cuts, leaves, _paces)


_expecting = _requests.map(lambda request: replace(request, expects=True))
_proper_clients = _clients(st.one_of(_requests, _expecting), st.none())
_leaving_clients = _clients(_requests, _leaving)
_mutated_clients = _clients(
    # Where it is not sure what is asked, nor in which order, nothing is that has an answer without content.
    st.builds(
        lambda request, mutations: replace(request, mutations=mutations),
        _requests.filter(lambda request: request.method != "HEAD"),
        _mutations,
    ),
    st.none(),
)

_proper_answers = st.builds(
    Answer,
    status=st.sampled_from([200, 200, 200, 204, 304, 404, 500]),
    size=_sizes,
    framing=st.sampled_from(["length", "chunks"]),
    interim=st.booleans(),
    ending=st.sampled_from(["kept", "kept", "closed"]),
    cuts=_cuts,
    pace=_paces,
)
_closing_answers = _proper_answers.map(lambda answer: replace(answer, framing="close", ending="closed"))
_answers_and_more = st.builds(
    lambda answer, unasked: replace(answer, size=answer.size % 5000, ending="kept", cuts=(), unasked=unasked),
    _proper_answers,
    st.sampled_from([b"x", b"HTTP/1.1 200 X\r\nX-Upstream: 0\r\nContent-Length: 0\r\n\r\n"]),
)
_odd_answers = st.one_of(
    st.builds(lambda answer, at: replace(answer, stops_at=at, ending="dropped"), _proper_answers, _places),
    st.builds(lambda answer, at: replace(answer, stops_at=at, ending="reset"), _proper_answers, _places),
    st.builds(
        lambda answer, mutations, ending: replace(answer, mutations=mutations, ending=ending),
        _proper_answers,
        _mutations,
        st.sampled_from(["closed", "dropped", "reset"]),
    ),
    _proper_answers.map(lambda answer: replace(answer, early=True)),
    _proper_answers.map(lambda answer: replace(answer, ending="dropped")),
    _answers_and_more,
)


def _scenes(*, clients: st.SearchStrategy[Client], answers: st.SearchStrategy[Answer]) -> st.SearchStrategy[Scene]:
    return st.builds(
        Scene,
        st.lists(clients, min_size=1, max_size=4).map(tuple),
        st.lists(answers, min_size=1, max_size=6).map(tuple),
    )


_good = st.one_of(_proper_answers, _closing_answers)
scenes = st.one_of(
    _scenes(clients=_proper_clients, answers=_good),
    _scenes(clients=_proper_clients, answers=st.one_of(_good, _odd_answers)),
    _scenes(clients=st.one_of(_proper_clients, _leaving_clients), answers=st.one_of(_good, _odd_answers)),
    _scenes(
        clients=st.one_of(_proper_clients, _leaving_clients, _mutated_clients), answers=st.one_of(_good, _odd_answers)
    ),
)
