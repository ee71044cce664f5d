"""What is read of the records in a `.wandb` file: their messages, and the JSON values in them."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from headrace.imports.messages import Table, message_classes

_CHANGES: Final = {"update": (1, "repeated Item"), "remove": (2, "repeated Item")}
TABLE: Final[Table] = {
    "Record": {
        "history": (2, "HistoryRecord"),
        "summary": (3, "SummaryRecord"),
        "config": (5, "ConfigRecord"),
        "stats": (7, "StatsRecord"),
        "artifact": (8, "ArtifactRecord"),
        "alert": (10, "AlertRecord"),
        "run": (17, "RunRecord"),
        "exit": (18, "RunExitRecord"),
        "environment": (26, "EnvironmentRecord"),
    },
    "RunRecord": {
        "run_id": (1, "string"),
        "entity": (2, "string"),
        "project": (3, "string"),
        "config": (4, "ConfigRecord"),
        "summary": (5, "SummaryRecord"),
        "run_group": (6, "string"),
        "job_type": (7, "string"),
        "display_name": (8, "string"),
        "notes": (9, "string"),
        "tags": (10, "repeated string"),
        "sweep_id": (12, "string"),
        "host": (13, "string"),
        "start_time": (17, "Timestamp"),
        "git": (21, "GitRepoRecord"),
        "resume": (24, "bool"),
    },
    "GitRepoRecord": {"remote_url": (1, "string"), "commit": (2, "string")},
    "EnvironmentRecord": {"program": (6, "string"), "email": (10, "string"), "username": (13, "string")},
    "ConfigRecord": _CHANGES,
    "SummaryRecord": _CHANGES,
    "HistoryRecord": {"item": (1, "repeated Item"), "step": (2, "HistoryStep")},
    "HistoryStep": {"num": (1, "int64")},
    # Of the three kinds of record alike: ConfigItem, SummaryItem, HistoryItem.
    "Item": {"key": (1, "string"), "nested_key": (2, "repeated string"), "value_json": (16, "string")},
    "StatsRecord": {"timestamp": (2, "Timestamp"), "item": (3, "repeated StatsItem")},
    "StatsItem": {"key": (1, "string"), "value_json": (16, "string")},
    "Timestamp": {"seconds": (1, "int64"), "nanos": (2, "int32")},
    "RunExitRecord": {"exit_code": (1, "int32"), "runtime": (2, "int32")},
    "AlertRecord": {"title": (1, "string")},
    "ArtifactRecord": {"type": (4, "string"), "name": (5, "string"), "manifest": (12, "ArtifactManifest")},
    "ArtifactManifest": {"contents": (4, "repeated ArtifactManifestEntry")},
    "ArtifactManifestEntry": {"path": (1, "string"), "local_path": (6, "string")},
}
"""Numbers and names as in wandb's own `wandb_internal.proto`."""
Record: Final[Any] = message_classes("headrace.imports.wandb", TABLE)["Record"]

Tree = dict[str, Any]


class Unread(str):
    """JSON that nobody asked for yet."""

    __slots__ = ()


class Unreadable:
    """Stands for a value that is no JSON."""


def put(tree: Tree, items: Iterable[Any], read: Callable[[str], Any]) -> None:
    """Sets what the items say, each at its key or its nested one; `read` is `value`, or `Unread` for what may be set anew
    before anyone asks.
    """
    for item in items:
        *above, last = item.nested_key or [item.key]
        _at(tree, above)[last] = read(item.value_json)


def remove(tree: Tree, items: Iterable[Any]) -> None:
    """Takes away what is at the items' keys."""
    for item in items:
        *above, last = item.nested_key or [item.key]
        _at(tree, above).pop(last, None)


def _at(tree: Tree, names: Iterable[str]) -> Tree:
    """The dict at this place, which is made where there is none."""
    for name in names:
        found = _known(tree.get(name))
        tree[name] = found if isinstance(found, dict) else {}
        tree = tree[name]
    return tree


def value(text: str) -> Any:
    """Of its JSON, in which wandb spells NaN and the infinities as Python does."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return Unreadable()


def flat(tree: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves by their names with "." between; a medium, which is a dict with a `_type`, is one leaf, and so is {}."""
    for name, leaf in tree.items():
        one = _known(leaf)
        if isinstance(one, dict) and one and "_type" not in one:
            yield from flat(one, f"{above}{name}.")
        else:
            yield above + name, one


def _known(one: Any) -> Any:
    return value(one) if isinstance(one, Unread) else one
