"""Other trackers' own programs, which make what is imported, and the import itself."""

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import headrace as hr
from headrace.imports.bringing import RunsAlone, bring
from headrace.imports.report import Report
from headrace.imports.source import SourceRun
from headrace_kit.testing import peers

PROGRAMS: Final = Path(__file__).parent / "trackers"


def command(requirements: Path, program: str, *arguments: str) -> list[str]:
    """To run a program of tests/trackers in an environment with these packages in it, and nothing of Headrace."""
    return [str(peers.python(requirements)), str(PROGRAMS / program), *arguments]


def environ(folder: Path) -> dict[str, str]:
    """For such a program: its caches stay in the folder, and it says little."""
    kept = {"HOME": str(folder), "XDG_DATA_HOME": str(folder / "data"), "XDG_CACHE_HOME": str(folder / "cache")}
    return {**os.environ, **kept, "PYTHONPATH": "", "WANDB_SILENT": "true", "WANDB__DISABLE_STATS": "false"}


def run(requirements: Path, program: str, folder: Path, *arguments: str) -> str:
    """What a program prints that works in this folder; fails with what it said where it fails."""
    done = subprocess.run(
        command(requirements, program, *arguments),
        cwd=folder,
        env=environ(folder),
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def imported(client: hr.Client, runs: Iterable[SourceRun]) -> Report:
    """What the import says; all must be there, and the same."""
    report = bring(RunsAlone(runs), client)
    assert report.well, (report.failures, list(report.differences()))
    return report


def points(client: hr.Client, run_id: str, key: str) -> list[tuple[int, int, float]]:
    """Of one series."""
    return list(client.metric_history(run_id, key))


def files(client: hr.Client, run_id: str, folder: Path) -> dict[str, bytes]:
    """Fetched into the folder."""
    client.artifacts.download(run_id, "", folder)  # which makes it
    return {found.relative_to(folder).as_posix(): found.read_bytes() for found in folder.rglob("*") if found.is_file()}
