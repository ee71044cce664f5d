"""Has `check.py` judge records while schedules go on, and adds up what it says."""

import json
import queue
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from faults.processes import Died

WRONG: Final = ("lost", "doubled", "disordered", "foreign", "dropped")
_SHOWN_S: Final = 90.0
"""How long what is acknowledged may take to show; with a fault a second, which each may hold the writers up, it may be late."""


@dataclass
class Totals:
    """What came out."""

    schedules: int = 0
    late: int = 0
    """Clients some of whose points showed only when the faults rested."""
    points: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def __add__(self, other: "Totals") -> "Totals":
        return Totals(
            self.schedules + other.schedules,
            self.late + other.late,
            self.points + other.points,
            self.failures + other.failures,
        )

    def __str__(self) -> str:
        points = self.points
        return (
            f"schedules: {self.schedules}, points acknowledged: {points['acknowledged']:,}"
            f" ({points['again']:,} of them sent again after an unknown outcome, {points['spooled']:,} by a spool file alone),"
            f" lost: {points['lost']:,}, doubled: {points['doubled']:,}, out of order: {points['disordered']:,},"
            f" late while faults went on: {self.late} clients, failures: {len(self.failures)}"
        )


class Judge:
    """A checker at work; records are given and verdicts come in the same order."""

    def __init__(self, process: "subprocess.Popen[str]", log: Path) -> None:
        self._process = process
        self._log = log
        self._verdicts: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._open = 0
        threading.Thread(target=self._read, daemon=True).start()

    def give(self, records: Iterable[Path]) -> None:
        """To be judged; does not wait. Raises Died when the checker has ended."""
        assert self._process.stdin is not None
        try:
            for record in records:
                self._process.stdin.write(f"{record}\n")
                self._open += 1
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._died() from None

    def verdicts(self, *, wait: bool) -> Iterator[dict[str, Any]]:
        """Those that are ready, or all; raises Died when the checker has ended."""
        while self._open and (wait or not self._verdicts.empty()):
            verdict = self._verdicts.get()
            if verdict is None:
                raise self._died()
            self._open -= 1
            yield verdict

    def _died(self) -> Died:
        return Died(f"the checker ended: {self._log.read_text()[-3000:]}")

    def _read(self) -> None:
        for line in self._process.stdout or ():
            self._verdicts.put(json.loads(line))
        self._verdicts.put(None)


@contextmanager
def open_judge(uri: str, folder: Path) -> Iterator[Judge]:
    """Ends with the context, whatever is still to be judged."""
    path = folder / "check.log"
    with path.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("check.py")), uri, str(_SHOWN_S)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,  # Ctrl-C is not for it
        )
    try:
        yield Judge(process, path)
    finally:
        process.kill()
        process.communicate()
