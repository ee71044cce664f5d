"""Client processes: programs of `bench/programs`, each told what to do by a JSON object, and listened to."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, cast

from headrace_kit.children import ended_with_parent

BENCH: Final = Path(__file__).parent.parent
_PATIENCE_S: Final = 600.0


class Failed(Exception):  # noqa: N818 - says what happened
    """A process of the bench ended, or said nothing for too long; the message ends with what it wrote."""


class Program:
    """A running program. A context manager that ends it; made in the thread that ends it."""

    def __init__(self, name: str, python: Path | str = sys.executable, **arguments: object) -> None:
        self._name = name
        paths = [str(BENCH), *filter(None, [os.environ.get("PYTHONPATH") if python == sys.executable else ""])]
        self._process = subprocess.Popen(
            ended_with_parent([str(python), "-m", f"programs.{name}", json.dumps(arguments)], "KILL"),
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._said: list[str] = []
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def read(self, seconds: float = _PATIENCE_S) -> dict[str, Any]:
        """What it says next. Raises Failed when that does not come."""
        patience = threading.Timer(seconds, self._process.kill)
        patience.start()
        try:
            while line := cast("str", self._process.stdout.readline() if self._process.stdout else ""):
                if line.startswith("{"):
                    return cast("dict[str, Any]", json.loads(line))
        finally:
            patience.cancel()
        self._process.wait()
        raise Failed(f"{self._name} ended ({self._process.returncode}):\n{''.join(self._said)[-3000:]}")

    def tell(self) -> None:
        """Lets it go on."""
        assert self._process.stdin is not None
        self._process.stdin.write("go on\n")
        self._process.stdin.flush()

    def wait(self, seconds: float = _PATIENCE_S) -> None:
        """Until it has ended by itself."""
        self._process.wait(seconds)

    def close(self) -> None:
        """Ends it."""
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _listen(self) -> None:
        for line in self._process.stderr or ():
            self._said = [*self._said[-50:], line]


def together(programs: Sequence[Program]) -> list[dict[str, Any]]:
    """Lets all go on at the same time; what each says next."""
    for program in programs:
        program.tell()
    return [program.read() for program in programs]
