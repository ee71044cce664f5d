"""CPU seconds of processes and all that they started, from /proc."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

_TICKS: Final = os.sysconf("SC_CLK_TCK")

Groups = Mapping[str, Sequence[int]]
"""Who works for whom: a name, and the processes on top of it."""


class Meter:
    """Counts from when it is made. Processes may end meanwhile, if one that lives on has waited for them."""

    def __init__(self, groups: Groups) -> None:
        self._groups = groups
        self._before = _spent(groups)

    def spent(self) -> dict[str, float]:
        """Seconds of each group so far."""
        return {name: seconds - self._before[name] for name, seconds in _spent(self._groups).items()}


def _spent(groups: Groups) -> dict[str, float]:
    parents: dict[int, int] = {}
    used: dict[int, float] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                # What follows the name, which may hold anything: state, parent, ...; times are the 14th to 17th field.
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            pid = int(folder.name)
            parents[pid] = int(fields[1])
            used[pid] = sum(map(int, fields[11:15])) / _TICKS
    return {name: sum(used[pid] for pid in used if _below(pid, set(tops), parents)) for name, tops in groups.items()}


def _below(pid: int, tops: set[int], parents: Mapping[int, int]) -> bool:
    while pid not in tops:
        pid = parents.get(pid, 0)
        if pid == 0:
            return False
    return True
