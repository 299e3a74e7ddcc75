from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from exporter.certcheck.ports import CooldownStore
from exporter.state.cooldowns import SqliteCooldowns
from exporter.state.database import Database
from exporter.state.file import StateFile
from tests.certcheck.cooldown_conformance import CooldownConformance
from tests.fakes import FakeClock
from tests.state import NAME


class TestSqliteCooldowns(CooldownConformance):
    @pytest.fixture
    async def store(self, clock: FakeClock, tmp_path: Path) -> AsyncIterator[CooldownStore]:
        failures: list[None] = []
        database = Database(StateFile(tmp_path / NAME), lambda: failures.append(None))
        store = SqliteCooldowns(database, clock)
        await database.open()
        yield store
        await database.close()
        assert not failures
