"""The figures as Markdown, and as JSON."""

import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rig.figures import Figure


def document(figures: Sequence[Figure], about: Mapping[str, Any]) -> dict[str, Any]:
    """All that was found, for the results folder."""
    return {
        "about": about,
        "figures": [
            {**asdict(figure), "median": figure.median, "verdict": figure.verdict.strip("*"), "ratios": _ratios(figure)}
            for figure in figures
        ],
    }


def markdown(figures: Sequence[Figure], about: Mapping[str, Any]) -> str:
    """The two tables."""
    lines = [
        _about(about),
        "",
        "| figure | median | min to max | floor, aim | reached | beside it, in the same run |",
        "|---|---|---|---|---|---|",
        *(_row(figure) for figure in figures),
        "",
        "CPU seconds for a million points:",
        "",
        "| figure | who | CPU s | of which |",
        "|---|---|---|---|",
        *(line for figure in figures for line in _cpu(figure)),
    ]
    notes = [f"- {figure.name}: {figure.note}" for figure in figures if figure.note]
    notes += [f"- {other.name}: {other.note}" for figure in figures for other in figure.beside if other.note]
    return "\n".join([*lines, "", *dict.fromkeys(notes)])


def machine(root: Path) -> dict[str, Any]:
    """What the figures depend on."""
    info = Path("/proc/cpuinfo")
    models = [line.partition(": ")[2] for line in info.read_text().splitlines() if line.startswith("model name")]
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=root, capture_output=True, text=True, check=True
    )
    changed = subprocess.run(["git", "status", "--porcelain"], cwd=root, capture_output=True, text=True, check=True)
    return {
        "commit": commit.stdout.strip() + (" and changes" if changed.stdout.strip() else ""),
        "cores": os.cpu_count(),
        "cpu": models[0] if models else platform.machine(),
        "python": platform.python_version(),
        "load at the start": round(os.getloadavg()[0], 2),
    }


def number(value: float, unit: str) -> str:
    """As a person reads it."""
    if unit == "points/s":
        return f"{value / 1e6:.2f} M" if value >= 1e6 else f"{value / 1e3:,.1f} k"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _about(about: Mapping[str, Any]) -> str:
    return "; ".join(f"{name}: {value}" for name, value in about.items() if not isinstance(value, Mapping))


def _ratios(figure: Figure) -> dict[str, float]:
    return {other.name: figure.ratio(other) for other in figure.beside}


def _row(figure: Figure) -> str:
    goals = ", ".join("-" if goal is None else number(goal, figure.unit) for goal in (figure.floor, figure.aim))
    beside = "; ".join(
        f"{other.name} {number(other.median, figure.unit)}: {figure.ratio(other):.3g}x"
        + ("" if other.wanted is None else f" (wanted {other.wanted:g}x)")
        for other in figure.beside
    )
    span = f"{number(min(figure.values), figure.unit)} to {number(max(figure.values), figure.unit)}"
    return f"| {figure.name} | {number(figure.median, figure.unit)} {figure.unit} | {span} | {goals} | {figure.verdict} | {beside} |"


def _cpu(figure: Figure) -> list[str]:
    return [
        f"| {figure.name} | {who} | {sum(spent.values()):.3g} |"
        f" {', '.join(f'{name} {seconds:.3g}' for name, seconds in spent.items())} |"
        for who, spent in figure.cpu.items()
    ]
