"""What `headrace dead-letters` does: looks at what consumers gave up, and sends it to them once more."""

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Final

from headrace.cli.output import print_json, print_table
from headrace_kit import config
from headrace_kit.bus import Bus, BusError, UnknownTopic
from headrace_kit.bus.choose import open_bus
from headrace_kit.bus.cloudevents import MalformedEvent, from_received
from headrace_kit.bus.dead_letters import DeadLetter, as_it_was, kept, replay
from headrace_kit.topics import FRAMES, TOPICS
from headrace_tracking.writer import letters

_TOPICS: Final = tuple(topic.name for topic in TOPICS if topic.consumers)


def list_dead_letters(args: argparse.Namespace) -> int:
    """Prints them, topic after topic, the oldest first."""
    return _told("list", lambda: _list(args.topic, as_json=args.json))


def replay_dead_letters(args: argparse.Namespace) -> int:
    """Says what was sent and what was not; 1 where something was not."""
    return _told("replay", lambda: _replay(args.topic, None if args.all else args.number))


def _list(topic: str, *, as_json: bool) -> int:
    with _bus() as bus:
        found = [_plain(letter) for name in ([_known(topic)] if topic else _TOPICS) for letter in kept(bus, name)]
    if as_json:
        print_json(found)
    else:
        columns = ("TOPIC", "NUMBER", "TIME", "SUBJECT", "REASON")
        print_table(columns, [list(row.values()) for row in found], "no dead letters")
    return 0


def _replay(topic: str, numbers: list[int] | None) -> int:
    again = letters.again if _known(topic) == FRAMES.name else as_it_was
    with _bus() as bus:
        done = replay(bus, topic, again, numbers)
    print(f"{len(done.sent)} sent to {topic}; what fails again is a new letter")  # noqa: T201 - the words of a command
    for number, why in sorted(done.left.items()):
        print(f"letter {number} was not sent: {why}", file=sys.stderr)  # noqa: T201 - as above
    return 1 if done.left else 0


def _plain(letter: DeadLetter) -> dict[str, object]:
    return {
        "topic": letter.topic,
        "number": letter.number,
        "time": letter.time,
        "subject": _subject(letter),
        "reason": letter.reason,
    }


def _subject(letter: DeadLetter) -> str:
    """What the letter is about, as far as that can be made out."""
    if letter.topic == FRAMES.name:
        return letters.subject(letter)
    try:
        return from_received(letter.record).subject
    except MalformedEvent:
        return ""


def _known(topic: str) -> str:
    if topic not in _TOPICS:
        raise UnknownTopic(f"no topic {topic!r} has consumers; there are {', '.join(_TOPICS)}")
    return topic


@contextmanager
def _bus() -> Iterator[Bus]:
    environ = {"HEADRACE_SERVICE_SECRET": "-", **os.environ}  # needs none, as it calls no service
    with closing(open_bus(config.load(config.ServiceConfig, environ))) as bus:
        yield bus


def _told(command: str, work: Callable[[], int]) -> int:
    try:
        return work()
    except (config.ConfigError, BusError, TimeoutError) as error:
        print(f"headrace dead-letters {command}: {error}", file=sys.stderr)  # noqa: T201 - the words of a command
        return 1
