"""How much memory a process takes, as Linux tells it."""

from __future__ import annotations

from pathlib import Path

MIB = 1024 * 1024


class Growth:
    """Of the memory that is resident, from the moment this is made."""

    def __init__(self, pid: int) -> None:
        self._process = Path(f"/proc/{pid}")
        # proc(5): 5 sets the peak back to what is resident now.
        (self._process / "clear_refs").write_text("5")
        self._before = self._bytes("VmRSS")

    @property
    def peak(self) -> int:
        """The most that there has been more than at first, in bytes."""
        return self._bytes("VmHWM") - self._before

    def _bytes(self, name: str) -> int:
        lines = (self._process / "status").read_text().splitlines()
        [kib] = [line.split()[1] for line in lines if line.startswith(f"{name}:")]
        return int(kib) * 1024
