"""`headrace sync`."""

import argparse
import sys

from headrace.cli.output import print_json, print_table
from headrace.connection import Connection
from headrace.ingest.spool import directory, supported
from headrace.ingest.sync import spool_files, sync_file


def sync(args: argparse.Namespace) -> int:
    """Sends what is in the spool; exit code 1 where something had to stay."""
    if not supported():
        print("headrace: there is no spool on this system", file=sys.stderr)
        return 1

    def tell(line: str) -> None:
        if not args.json:
            print(line, file=sys.stderr)

    done = [
        sync_file(path, lambda uri: Connection(args.uri or uri), args.patience, tell)
        for path in spool_files(directory(args.spool))
    ]
    if args.json:
        print_json(done)
    else:
        rows = [(each.run_id, each.state, each.points, each.left, each.message, each.path) for each in done]
        print_table(("run_id", "state", "sent", "left", "message", "file"), rows, "nothing to send")
    return int(any(each.state == "failed" for each in done))
