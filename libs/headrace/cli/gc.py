"""`headrace gc`."""

import argparse
import re
import sys
from datetime import timedelta
from typing import Final

from headrace.cli.output import print_json, print_table
from headrace.client import Client
from headrace.purging import Purged

_AGE: Final = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")  # as mlflow gc takes it
_TOLD: Final = 100


def age(text: str) -> timedelta:
    """Such as "30d", "12h" or "1d12h30m". Raises ArgumentTypeError."""
    found = _AGE.fullmatch(text)
    if not text or not found:
        raise argparse.ArgumentTypeError(f"must be like 30d, 12h or 1d12h30m, not {text!r}")
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    try:
        return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    except OverflowError:
        raise argparse.ArgumentTypeError(f"is too long: {text}") from None


def collect(args: argparse.Namespace) -> int:
    """Empties the bin, tells how far it is on stderr, and at the end what went."""
    purged: list[Purged] = []
    with Client(args.uri) as client:
        for one in client.purge(args.older_than, runs=args.run_ids, experiments=args.experiment, dry_run=args.dry_run):
            purged.append(one)
            if len(purged) % _TOLD == 0:
                print(f"{len(purged)} {_done(args)} ...", file=sys.stderr)
    if args.json:
        print_json({"dry_run": args.dry_run, "purged": purged})
        return 0
    rows = [(one.run_id or "(the experiment)", one.experiment_id, one.points, one.size_bytes) for one in purged]
    print_table(("run_id", "experiment_id", "points", "bytes"), rows, "nothing in the bin is that old")
    if rows:
        runs = sum(bool(one.run_id) for one in purged)
        print(
            f"{_done(args)}: {runs} runs and {len(purged) - runs} experiments, with"
            f" {sum(one.points for one in purged):,} points in {sum(one.size_bytes for one in purged):,} bytes",
            file=sys.stderr,
        )
    return 0


def _done(args: argparse.Namespace) -> str:
    return "would be purged" if args.dry_run else "purged"
