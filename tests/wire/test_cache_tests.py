"""http-cache-tests by its own client: with us in between it sees what it sees at the origin, for nothing is cached."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.process import run
from tests.wire.cache_tests import Results, client, origin, read, require_cache_tests
from tests.wire.worlds import CORES, configured

# The origin's response is broken, so that the client sees its own library's error there, and here a whole answer: a 502
# of ours, or as much as Content-Length says.
BROKEN = {
    # The connection ends where there should be a response.
    "stale-close",
    "stale-close-must-revalidate",
    "stale-close-no-cache",
    "stale-close-proxy-revalidate",
    "stale-close-s-maxage=2",
    "stale-sie-503",
    "stale-sie-close",
    "stale-warning-become",
    "stale-warning-stored",
    # There is more content than Content-Length says.
    "304-etag-update-response-Content-Length",
    "headers-store-Content-Length",
    # A transfer coding that does not exist, on a connection that stays open.
    "headers-store-Transfer-Encoding",
}


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Results]]:
    """The results at the origin, twice, and through each core. All at once: most of the time they wait."""
    require_cache_tests()
    directory = tmp_path_factory.mktemp("cache-tests")
    with origin(directory) as url:
        with ExitStack() as stack:
            urls = {"origin": url, "origin again": url}
            for core in CORES:
                urls[core] = stack.enter_context(run(configured(directory / core, f"{url}/", core=core))).proxy_url
            outputs = {name: stack.enter_context(client(directory, name, each)) for name, each in urls.items()}
        yield {name: read(output) for name, output in outputs.items()}


def without_broken(results: Results) -> Results:
    return {name: result for name, result in results.items() if name not in BROKEN}


def test_there_are_as_many_as_there_should_be_and_they_do_not_depend_on_chance(seen: dict[str, Results]) -> None:
    assert len(seen["origin"]) == 350
    assert seen["origin"] == seen["origin again"]


@pytest.mark.parametrize("core", CORES)
def test_through_us_the_client_sees_what_it_sees_at_the_origin(seen: dict[str, Results], core: str) -> None:
    assert without_broken(seen[core]) == without_broken(seen["origin"])


def test_a_broken_response_passes_nowhere(seen: dict[str, Results]) -> None:
    assert {(view, name) for view, results in seen.items() for name in BROKEN if results[name] is True} == set()
