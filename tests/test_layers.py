"""The architecture's layers, as a table, and the imports that must follow it."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

import exporter

ROOT = Path(exporter.__file__).parent
INIT = "exporter"

# Bottom to top. A module may import its own group and the layers below, never beside or above.
# A name stands for the module, or for the package with all that is in it.
LAYERS: list[tuple[str, dict[str, list[str]]]] = [
    ("domain", {"domain": ["certcheck"]}),
    (
        "application",
        {
            "application": [
                "target",
                "redis_url",
                "plan",
                "gateway",
                "monitor",
                "routes",
                "durations",
                "problems",
                "outbox",
                "proxy.core",
                "proxy.headers",
                "proxy.errors",
                "proxy.clients",
                "attempts",
                "outbox",
                "delivery",
                "dispatcher",
                "steady",
            ]
        },
    ),
    (
        "adapters",
        {
            "config": [
                "documents",
                "validation",
                "strict",
                "config",
                "watch_entry",
                "handler_entry",
                "settings",
                "sight",
                "globs",
                "state_files",
            ],
            "certificates": ["certificates"],
            "proxy": ["proxy"],
            "telemetry": ["telemetry"],
            "sinks": ["sinks"],
            "cooldowns": ["cooldowns"],
            "state": ["state"],
        },
    ),
    (
        "assembly",
        {
            "assembly": [
                "planning",
                "handlers",
                "stores",
                "subscriptions",
                "transition",
                "catalog",
                "check",
                "listener",
                "listener_tls",
                "watch",
                "watched_file",
                "following",
                "watchlist",
                "logs",
                "places",
                "findings",
                "preflight",
                "preflight_report",
                "remote",
                "terminal",
                "rehearsal",
            ]
        },
    ),
    ("admin", {"admin": ["admin"]}),
    ("top", {"top": ["app", "cli", "demo", "__main__"]}),
]

# What the table does not allow and is accepted, each with its reason.
EXCEPTIONS = {
    ("exporter.settings", "exporter.certificates.files"): "where the parts of a certificate are, a value",
    ("exporter.check", "exporter.admin.certs"): "`check` prints the rows that `/certs` answers with",
}

# Libraries from outside, by group; an adapter has one, and its companions.
LIBRARIES: dict[str, set[str]] = {
    "domain": {"cryptography"},
    # Names of hosts are compared in one spelling; no part of the standard library knows IDNA 2008.
    "application": {"idna"},
    "config": {"pydantic", "pydantic_core", "yaml"},
    "certificates": {"OpenSSL", "cryptography"},
    "proxy": {"aiohappyeyeballs", "aiohttp", "httptools", "multidict", "yarl"},
    "telemetry": {"grpc", "opentelemetry"},
    "sinks": {"aiohappyeyeballs", "aiohttp", "jinja2", "multidict", "yarl"},
    "cooldowns": {"redis"},
    "state": set(),
    "assembly": {"starlette", "uvicorn"},
    "admin": {"jinja2", "starlette"},
    "top": {"aiohttp", "cryptography", "starlette", "uvloop", "yaml"},
}

# The domain has no clock and does no I/O of its own.
NOT_IN_THE_DOMAIN = {"io", "os", "pathlib", "socket", "ssl", "subprocess", "tempfile", "time", "urllib"}

MODULES = {
    ".".join(("exporter", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
}


def place(module: str) -> tuple[int, str]:
    """The height of the layer, and the group, of a module; the longest name in the table that fits."""
    places = [
        (len(name), height, group)
        for height, (_, groups) in enumerate(LAYERS)
        for group, names in groups.items()
        for name in names
        if f"{module}.".startswith(f"exporter.{name}.")
    ]
    if not places:
        raise LookupError(f"{module} is not in the table of layers")
    _, height, group = max(places)
    return height, group


def imports(source: str, module: str) -> set[str]:
    """All that a module imports anywhere in it: modules of this package whole, others by their first name."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute"
            origin = node.module or ""
            # `from exporter.telemetry import names` is the module, `from exporter import __version__` the package.
            found.update(name if (name := f"{origin}.{alias.name}") in MODULES else origin for alias in node.names)
    return {name if name.split(".")[0] == "exporter" else name.split(".")[0] for name in found}


def wrong(source: str, module: str) -> set[str]:
    """The modules of this package that a module must not import, and does."""
    height, group = place(module)

    def allowed(other: str) -> bool:
        if other == INIT:
            return True
        below, beside = place(other)
        return below < height or beside == group

    ours = {name for name in imports(source, module) if name.split(".")[0] == "exporter"}
    return {other for other in ours if not allowed(other)}


def libraries(source: str, module: str) -> set[str]:
    """The libraries that a module imports, without the standard one."""
    return imports(source, module) - MODULES.keys() - sys.stdlib_module_names


NAMES = sorted(MODULES.keys() - {INIT})


@pytest.mark.parametrize("module", NAMES)
def test_every_module_imports_only_what_is_below_it(module: str) -> None:
    source = MODULES[module].read_text("utf-8")

    assert {(module, other) for other in wrong(source, module)} <= EXCEPTIONS.keys()


@pytest.mark.parametrize("module", NAMES)
def test_every_module_uses_only_the_libraries_of_its_group(module: str) -> None:
    source = MODULES[module].read_text("utf-8")

    assert libraries(source, module) <= LIBRARIES[place(module)[1]]


@pytest.mark.parametrize("module", [name for name in NAMES if name.startswith("exporter.certcheck")])
def test_the_domain_has_no_clock_and_does_no_io(module: str) -> None:
    source = MODULES[module].read_text("utf-8")

    assert imports(source, module).isdisjoint(NOT_IN_THE_DOMAIN)
    for call in ("datetime.now(", "utcnow(", "open(", "create_task(", "TaskGroup("):
        assert call not in source


def test_every_exception_is_still_needed() -> None:
    needed = {(module, other) for module in NAMES for other in wrong(MODULES[module].read_text("utf-8"), module)}

    assert EXCEPTIONS.keys() <= needed


def test_every_library_is_still_used() -> None:
    used: dict[str, set[str]] = {group: set() for group in LIBRARIES}
    for module in NAMES:
        used[place(module)[1]] |= libraries(MODULES[module].read_text("utf-8"), module)

    assert used == LIBRARIES


def test_every_name_in_the_table_is_a_module() -> None:
    names = {f"exporter.{name}" for _, groups in LAYERS for names in groups.values() for name in names}

    assert names <= MODULES.keys()


def test_the_package_itself_imports_nothing() -> None:
    assert imports(MODULES[INIT].read_text("utf-8"), INIT) == set()


@pytest.mark.parametrize(
    ("module", "source", "found"),
    [
        ("exporter.certcheck.expiry", "from exporter.gateway import Gateway", {"exporter.gateway"}),
        ("exporter.certcheck.expiry", "def f():\n    import exporter.gateway", {"exporter.gateway"}),
        ("exporter.certcheck.expiry", "from exporter.certcheck import slot", set()),
        ("exporter.gateway", "from exporter.certcheck.slot import Slot", set()),
        ("exporter.gateway", "from exporter.proxy.core import Upstream", set()),
        ("exporter.gateway", "from exporter.proxy import core, aiohttp", {"exporter.proxy.aiohttp"}),
        ("exporter.proxy.core", "from exporter.proxy.aiohttp import AiohttpCore", {"exporter.proxy.aiohttp"}),
        ("exporter.sinks.otlp", "from exporter.telemetry import names", {"exporter.telemetry.names"}),
        ("exporter.telemetry.otlp", "from exporter.telemetry import names", set()),
        ("exporter.catalog", "from exporter.admin.app import build", {"exporter.admin.app"}),
        ("exporter.app", "from exporter import __version__\nfrom exporter.admin.app import build", set()),
    ],
)
def test_an_arrow_that_points_up_or_sideways_is_found(module: str, source: str, found: set[str]) -> None:
    assert wrong(source, module) == found
