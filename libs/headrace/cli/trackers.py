"""`headrace import wandb`, `tensorboard` and `neptune`: runs in files of other trackers."""

import argparse
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.cli import moving
from headrace.cli.output import print_json, print_table

if TYPE_CHECKING:
    from headrace.imports.report import Report
    from headrace.imports.source import SourceRun

_COLUMNS = ("experiment", "name", "state", "params", "tags", "series", "points", "files", "bytes", "run_id")


def import_wandb(args: argparse.Namespace) -> int:
    """From folders of Weights & Biases; exit code 1 where something differs, was refused or cannot be read."""

    def read(report: "Report") -> "Iterator[SourceRun]":
        from headrace.imports import wandb  # noqa: PLC0415 - of the extra [import]

        return wandb.read(Path(args.path), report)

    return moving.with_extra(lambda: _import(args, read))


def import_tensorboard(args: argparse.Namespace) -> int:
    """From event files of TensorBoard; as above."""

    def read(report: "Report") -> "Iterator[SourceRun]":
        from headrace.imports import tensorboard  # noqa: PLC0415 - of the extra [import]

        return tensorboard.read(Path(args.path), report)

    return moving.with_extra(lambda: _import(args, read))


def import_neptune(args: argparse.Namespace) -> int:
    """From what neptune-exporter wrote; as above."""

    def read(report: "Report") -> "Iterator[SourceRun]":
        from headrace.imports import neptune  # noqa: PLC0415 - of the extra [import]

        files = Path(args.files_path) if args.files_path else None
        return neptune.read(Path(args.path), report, files, args.step_multiplier)

    return moving.with_extra(lambda: _import(args, read))


def _import(args: argparse.Namespace, read: "Callable[[Report], Iterator[SourceRun]]") -> int:
    from headrace.imports.bringing import RunsAlone  # noqa: PLC0415 - of the extra [import]

    def runs(report: "Report") -> "Iterator[SourceRun]":
        for run in read(report):
            yield dataclasses.replace(run, experiment=args.experiment) if args.experiment else run

    if args.dry_run:
        return _tell(args, runs)
    args.read_all = True  # these files tell what changed only when they are read
    return moving.bring(args, args.path, lambda report: RunsAlone(runs(report)))


def _tell(args: argparse.Namespace, runs: "Callable[[Report], Iterator[SourceRun]]") -> int:
    """What would come; asks no Headrace."""
    from headrace.imports.report import Report  # noqa: PLC0415 - of the extra [import]

    report = Report()
    rows = []
    for run in runs(report):
        points = [len(series) for series in run.series()]
        sizes = [file.size for file in run.files()]
        report.leave(run.left_out)
        counts = (len(run.params), len(run.tags), len(points), sum(points), len(sizes), sum(sizes))
        rows.append((run.experiment, run.name, run.state, *counts, run.run_id))
    if args.json:
        would = [dict(zip(_COLUMNS, row, strict=True)) for row in rows]
        print_json({"dry_run": True, "runs": would, "left_out": report.left_out, "notes": report.notes,
                    "refused": report.failures})  # fmt: skip
    else:
        print_table(_COLUMNS, rows, "the source has nothing")
        moving.remarks(report)
    return 0 if report.well else 1
