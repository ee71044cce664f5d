"""`headrace import`, `headrace export`."""

import argparse
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, Final

from headrace import errors
from headrace.cli.output import print_json, print_table
from headrace.client import Client

if TYPE_CHECKING:
    from headrace.imports.bringing import Source
    from headrace.imports.report import Report

_TOLD: Final = 10  # differences and failures
_EVERY_S: Final = 5.0
_EXTRA: Final = "pip install 'headrace[import]'"


def import_mlflow(args: argparse.Namespace) -> int:
    """From an MLflow; exit code 1 where something differs or was refused."""
    return with_extra(lambda: _import_mlflow(args))


def _import_mlflow(args: argparse.Namespace) -> int:
    from headrace.imports.mlflow.entities import Choice  # noqa: PLC0415 - of the extra [import]
    from headrace.imports.mlflow.plan import Mlflow  # noqa: PLC0415 - as above

    choice = Choice(tuple(args.experiment), not args.no_artifacts, args.workspace, args.jobs + 1)
    with closing(Mlflow(args.source, args.artifacts, choice)) as source:
        return bring(args, args.source, lambda report: source.open(report.note))


def export_mlflow(args: argparse.Namespace) -> int:
    """To an MLflow server; exit code 1 where something differs or was refused."""
    return with_extra(lambda: _export_mlflow(args))


def _export_mlflow(args: argparse.Namespace) -> int:
    from headrace.imports.mlflow.entities import Choice  # noqa: PLC0415 - of the extra [import]
    from headrace.imports.mlflow.export import Exporting  # noqa: PLC0415 - as above
    from headrace.imports.mlflow.http import Http  # noqa: PLC0415 - as above
    from headrace.imports.ours import Ours  # noqa: PLC0415 - as above
    from headrace.imports.progress import Progress  # noqa: PLC0415 - as above

    choice = Choice(tuple(args.experiment), not args.no_artifacts, connections=args.jobs + 1)
    progress = Progress(sys.stderr)
    with Client(args.uri) as client, closing(Http(args.target, connections=choice.connections)) as http:
        source = Ours(client, args.experiment, files=choice.files)
        try:
            report = Exporting(source, http, choice, jobs=args.jobs, tell=progress).run()
        finally:
            progress.close()
    return show(report, ("headrace", "mlflow"), as_json=args.json)


def bring(args: argparse.Namespace, name: str, source: "Callable[[Report], Source]") -> int:
    """Brings what the source has, once or for as long as `args.follow` says; prints the report.

    `name` tells this source from others; `source` opens it, and tells the report what it found.
    """
    from headrace.imports.bringing import Bringing, follow  # noqa: PLC0415 - of the extra [import]
    from headrace.imports.progress import Progress  # noqa: PLC0415 - as above
    from headrace.imports.seen import Seen, place  # noqa: PLC0415 - as above

    progress = Progress(sys.stderr)
    with Client(args.uri) as client:
        client.connection.check()
        seen = Seen(None if args.read_all else place(name, client.connection.uri))
        bringing = Bringing(client, jobs=args.jobs, tell=progress, seen=seen)
        try:
            if args.follow:
                print("following: Ctrl-C ends it after the round under way, a second one at once", file=sys.stderr)
                with _interrupted() as stopping:
                    follow(bringing, lambda: source(bringing.report), every_s=_EVERY_S, stopping=stopping)
            else:
                bringing.round(source(bringing.report))
        finally:
            progress.close()
    return show(bringing.report, ("source", "headrace"), as_json=args.json)


@contextmanager
def _interrupted() -> Iterator[threading.Event]:
    """Set by the first Ctrl-C; the next one is a KeyboardInterrupt, as ever."""
    stopping = threading.Event()

    def end(*_: object) -> None:
        signal.signal(signal.SIGINT, before)
        stopping.set()

    before = signal.signal(signal.SIGINT, end)
    try:
        yield stopping
    finally:
        signal.signal(signal.SIGINT, before)


def show(report: "Report", sides: tuple[str, str], *, as_json: bool) -> int:
    """Prints what both sides have; 0 where that is the same, and nothing was refused."""
    differences = [str(one) for one in report.differences()]
    if as_json:
        print_json(_plain(report, sides, differences))
        return 0 if report.well else 1
    print_table(("", *sides, "checksum"), _rows(report), f"{sides[0]} has nothing")
    remarks(report, differences)
    print(
        f"{report.changed:,} changed; {report.points_sent:,} points and {report.files_sent:,} files with"
        f" {report.bytes_sent:,} bytes sent; {'both sides are the same' if report.well else 'the sides DIFFER'}",
        file=sys.stderr,
    )
    return 0 if report.well else 1


def remarks(report: "Report", differences: Sequence[str] = ()) -> None:
    """Prints what is not as it was in the source."""
    for text in report.notes:
        print(f"note: {text}", file=sys.stderr)
    if report.repeats:
        print(
            f"note: {report.repeats:,} points stand in the source more than once: they are kept once", file=sys.stderr
        )
    if report.left_out:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(report.left_out.items()))
        print(f"note: left out or changed: {kinds}", file=sys.stderr)
    for what, lines in (("differs", differences), ("refused", report.failures)):
        for line in lines[:_TOLD]:
            print(f"{what}: {line}", file=sys.stderr)
        if len(lines) > _TOLD:
            print(f"{what}: ... and {len(lines) - _TOLD:,} more (--json tells all)", file=sys.stderr)


def _rows(report: "Report") -> list[tuple[str, str, str, str]]:
    from headrace.imports.checksum import KINDS, Total  # noqa: PLC0415 - of the extra [import]

    source, target = report.sums()
    rows: list[tuple[str, str, str, str]] = []
    for kind in KINDS:
        has, got = source.get(kind, Total()), target.get(kind, Total())
        if has.count or got.count:
            same = f"{has.checksum:032x}"[:12] if has == got else "DIFFERS"
            rows.append((kind, f"{has.count:,}", f"{got.count:,}", same))
            if kind == "files":
                rows.append(("bytes of files", f"{has.size:,}", f"{got.size:,}", ""))
    return rows


def _plain(report: "Report", sides: tuple[str, str], differences: list[str]) -> Mapping[str, Any]:
    source, target = report.sums()
    return {
        "same": report.well,
        "changed": report.changed,
        "points_sent": report.points_sent,
        "files_sent": report.files_sent,
        "bytes_sent": report.bytes_sent,
        "points_repeated": report.repeats,
        sides[0]: {kind: _total(one) for kind, one in source.items()},
        sides[1]: {kind: _total(one) for kind, one in target.items()},
        "differences": differences,
        "refused": report.failures,
        "left_out": dict(sorted(report.left_out.items())),
        "notes": report.notes,
    }


def _total(total: Any) -> Mapping[str, object]:
    return {"count": total.count, "checksum": f"{total.checksum:032x}", "bytes": total.size}


def with_extra(work: Callable[[], int]) -> int:
    """Does the work, or says what is to be installed."""
    try:
        return work()
    except ModuleNotFoundError as error:
        raise errors.InvalidRequest(f"{error}; moving needs it: {_EXTRA}") from None
