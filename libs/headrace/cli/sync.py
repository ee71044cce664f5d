"""`headrace sync`."""

import argparse
import sys

from headrace import retry
from headrace.cli.output import print_json, print_table
from headrace.client import Client
from headrace.ingest.spool import directory, supported
from headrace.offline.replay import sync_folder


def sync(args: argparse.Namespace) -> int:
    """Sends what is in the spool; exit code 1 where something had to stay."""
    if not supported():
        print("headrace: there is no spool on this system", file=sys.stderr)
        return 1

    def tell(line: str) -> None:
        if not args.json:
            print(line, file=sys.stderr)

    def connect(uri: str, workspace: str) -> Client:
        return Client(args.uri or uri, workspace=workspace, policy=policy)

    policy = retry.Policy(patience_s=args.patience)
    done = list(sync_folder(directory(args.spool), connect, args.patience, tell))
    if args.json:
        print_json(done)
    else:
        rows = [
            (each.run_id, each.state, each.points, each.left, each.records, each.message, each.path) for each in done
        ]
        print_table(("run_id", "state", "points", "left", "records", "message", "file"), rows, "nothing to send")
    return int(any(each.state == "failed" for each in done))
