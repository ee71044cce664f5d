"""`make bench`: how long Headrace takes to start, `import headrace` to import, and what `pip install headrace` brings.

Each figure is a median of several whole processes, with minimum and maximum; imports stand beside a bare interpreter and
beside `import grpc`, measured in turn, so that the machine's mood falls on all of them.
"""

import json
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
ROUNDS: Final = 7
STARTS: Final = 5


def main() -> None:
    """Prints the table."""
    bare, client, grpc = _in_turn(
        [lambda: _python("pass"), lambda: _python("import headrace"), lambda: _python("import headrace, grpc")]
    )
    print(f"{'':34}{'median':>10}{'min':>10}{'max':>10}")
    _row("python, nothing imported", bare, "ms", 1000)
    _row("python, import headrace", client, "ms", 1000)
    _row("python, import headrace and grpc", grpc, "ms", 1000)
    print(f"{'import headrace itself':34}{1000 * (statistics.median(client) - statistics.median(bare)):10.1f} ms")
    with tempfile.TemporaryDirectory() as folder:
        first = [_start(Path(folder) / "data")]
        later = [_start(Path(folder) / "data") for _ in range(STARTS)]
    _row("headrace up, first start", [wall for wall, _ in first], "s", 1)
    _row("headrace up, later starts", [wall for wall, _ in later], "s", 1)
    _row("  CPU seconds of a later start", [cpu for _, cpu in later], "s", 1)
    packages = _packages()
    print(f"pip install headrace brings {len(packages)} packages: {', '.join(packages)}")


def _in_turn(measures: list[Callable[[], float]]) -> list[list[float]]:
    """Each measure ROUNDS times, A B C A B C ..., after one round that does not count."""
    rounds = [[measure() for measure in measures] for _ in range(ROUNDS + 1)][1:]
    return [list(column) for column in zip(*rounds, strict=True)]


def _python(code: str) -> float:
    """Seconds from start to end of an interpreter that runs the code."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - started


def _start(data: Path) -> tuple[float, float]:
    """Seconds from the command to "ready", and CPU seconds of all its processes from start to stop."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [str(Path(sys.executable).with_name("headrace")), "up", "--data-dir", str(data)]
    started = time.perf_counter()
    with subprocess.Popen([*command, "--http-port", "0", "--grpc-port", "0"], stdout=subprocess.PIPE, text=True) as up:
        for line in up.stdout or ():
            if "is ready" in line:
                break
        wall = time.perf_counter() - started
        up.send_signal(signal.SIGINT)
        up.communicate(timeout=60)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _packages() -> list[str]:
    """Name and version of everything that an empty environment gets by `pip install headrace`."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--dry-run",
        "--ignore-installed",
        "--report",
        "-",
        str(ROOT),
    ]
    report = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return sorted(f"{item['metadata']['name']} {item['metadata']['version']}" for item in report["install"])


def _row(name: str, seconds: list[float], unit: str, scale: int) -> None:
    low, middle, high = min(seconds), statistics.median(seconds), max(seconds)
    print(f"{name:34}{scale * middle:10.2f}{scale * low:10.2f}{scale * high:10.2f} {unit}")


if __name__ == "__main__":
    main()
