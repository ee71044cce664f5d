"""Model folders and model processes for tests."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from headrace.models import save_callable, save_sklearn

ROWS = pd.DataFrame({"acid": [0.1, 0.9, 0.2, 0.8], "year": [1, 2, 3, 4]})
SPLIT = {"dataframe_split": {"columns": ["acid", "year"], "data": [[0.1, 1], [0.9, 2]]}}


def sklearn_model(folder: Path) -> Path:
    """A classifier of two columns."""
    save_sklearn(LogisticRegression().fit(ROWS, np.array([0, 1, 0, 1])), folder, input_example=ROWS)
    return folder


def callable_model(folder: Path, function: Callable[[pd.DataFrame], object], example: object = ROWS) -> Path:
    """A function; pickled by value, for the process that loads it does not have the tests."""
    save_callable(function, folder, input_example=example)
    return folder


@dataclass(frozen=True)
class Served:
    """A model process that answers."""

    process: subprocess.Popen[bytes]
    url: str
    ready: str
    http: httpx.Client

    def ask(self, body: object, **headers: str) -> httpx.Response:
        return self.http.post("/invocations", json=body, headers=headers)


@contextmanager
def served(folder: Path, *arguments: str, log: Path) -> Iterator[Served]:
    """Runs `python -m headrace_serving` until the block ends."""
    command = [sys.executable, "-I", "-m", "headrace_serving", "--model-dir", str(folder), *arguments]
    with log.open("wb") as stderr:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr)
    assert process.stdout is not None
    with process, process.stdout as stdout:
        ready = stdout.readline().decode()
        try:
            assert ready.startswith("READY serving http="), f"{ready!r}: {log.read_text()}"
            address = ready.split()[2].removeprefix("http=")
            with httpx.Client(base_url=f"http://{address}", timeout=20, trust_env=False) as http:
                yield Served(process, f"http://{address}", ready, http)
        finally:
            process.kill()


def eventually(happens: Callable[[], object], seconds: float = 60) -> None:
    """Waits until it is true."""
    deadline = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)
