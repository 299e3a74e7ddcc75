from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from exporter.routes import Routes


def routes(*paths: bytes) -> Routes[bytes]:
    """Routes that serve each listen path with its own name."""
    return Routes({path: path for path in paths})


@pytest.mark.parametrize(
    ("listen", "path", "found"),
    [
        ([b"/orders/"], b"/orders/", b"/orders/"),
        ([b"/orders/"], b"/orders/1", b"/orders/"),
        ([b"/orders/"], b"/orders/1/items", b"/orders/"),
        ([b"/orders/"], b"/orders//", b"/orders/"),
        ([b"/orders/"], b"/orders", None),
        ([b"/orders/"], b"/ordersX", None),
        ([b"/orders/"], b"/other/orders/", None),
        ([b"/orders"], b"/orders", b"/orders"),
        ([b"/orders"], b"/orders/", b"/orders"),
        ([b"/orders"], b"/orders/1", b"/orders"),
        # A prefix, but not at a segment boundary.
        ([b"/orders"], b"/orders2", None),
        ([b"/orders"], b"/orders-archive/1", None),
        ([b"/orders"], b"/orders%2F1", None),
        ([b"/orders"], b"/order", None),
        # The longest wins.
        ([b"/", b"/a", b"/a/", b"/a/b"], b"/a/b", b"/a/b"),
        ([b"/", b"/a", b"/a/", b"/a/b"], b"/a/b/c", b"/a/b"),
        ([b"/", b"/a", b"/a/", b"/a/b"], b"/a/bc", b"/a/"),
        ([b"/", b"/a", b"/a/", b"/a/b"], b"/a/", b"/a/"),
        ([b"/", b"/a", b"/a/", b"/a/b"], b"/a", b"/a"),
        ([b"/", b"/a", b"/a/", b"/a/b"], b"/ab", b"/"),
        ([b"/", b"/a", b"/a/", b"/a/b"], b"/", b"/"),
        ([b"/a", b"/a/b/c/d"], b"/a/b/c", b"/a"),
        ([b"/a", b"/a/b/c/d"], b"/a/b/c/de", b"/a"),
        # Raw bytes: nothing is decoded, folded or tidied.
        ([b"/Orders/"], b"/orders/1", None),
        ([b"/orders/"], b"/%6Frders/1", None),
        ([b"/a/c/"], b"/a/b/../c/", None),
        ([b"/caf%C3%A9/"], b"/caf%C3%A9/1", b"/caf%C3%A9/"),
        ([b"//"], b"//x", b"//"),
        ([b"/"], b"", None),
        ([b"/"], b"*", None),
        ([], b"/", None),
        ([], b"", None),
    ],
)
def test_the_longest_listen_path_that_ends_at_a_segment_boundary_is_found(
    listen: list[bytes], path: bytes, found: bytes | None
) -> None:
    assert routes(*listen).match(path) == found


def oracle(listen: Iterable[bytes], path: bytes) -> bytes | None:
    """By the rule, one listen path after the other."""
    fitting = [
        prefix
        for prefix in listen
        if path.startswith(prefix) and (path == prefix or prefix.endswith(b"/") or path[len(prefix) :].startswith(b"/"))
    ]
    return max(fitting, key=len, default=None)


segments = st.sampled_from([b"", b"/", b"a", b"b", b"ab", b"/a", b"a/", b"//", b"%2F"])
paths = st.lists(segments, max_size=6).map(b"".join).map(b"/".__add__)


@settings(deadline=None, max_examples=1000)
@given(st.sets(paths, max_size=8), paths)
@example({b"/a", b"/a/"}, b"/a/")
@example({b"/a"}, b"/a/")
def test_the_rule_holds_for_any_listen_paths_and_any_path(listen: set[bytes], path: bytes) -> None:
    assert routes(*listen).match(path) == oracle(listen, path)


def test_a_very_long_path_is_matched_like_a_short_one() -> None:
    assert routes(b"/orders/").match(b"/orders" + b"/x" * 1_000_000) == b"/orders/"
    assert routes(b"/orders/").match(b"/" * 1_000_000) is None


def test_routes_do_not_change_with_the_map_they_were_made_of() -> None:
    by_path = {b"/a": 1}
    made = Routes(by_path)
    by_path[b"/b"] = 2

    assert made.match(b"/b") is None
