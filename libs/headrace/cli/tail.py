"""`headrace events tail`."""

import argparse
import json

from google.protobuf.json_format import MessageToDict

from headrace.client import Client
from headrace.events import Event
from headrace.tables import as_text


def tail(args: argparse.Namespace) -> int:
    """Prints events, one a line, until interrupted."""
    with (
        Client(args.uri) as client,
        client.events.subscribe(
            args.type,
            subject_prefix=args.subject_prefix,
            cursor=args.cursor,
            from_="earliest" if args.from_earliest else "latest",
        ) as events,
    ):
        for event in events:
            print(_json(event) if args.json else _line(event), flush=True)
    return 0


def _line(event: Event) -> str:
    return f"{as_text(event.time)}  {event.type.rpartition('.')[2]:<24}  {as_text(event.subject)}"


def _json(event: Event) -> str:
    data = None if event.message is None else MessageToDict(event.message, preserving_proto_field_name=True)
    return json.dumps(
        {
            "type": event.type,
            "id": event.id,
            "subject": event.subject,
            "time": event.time.isoformat(),
            "cursor": event.cursor,
            "data": data,
        }
    )
