"""The commands that run a Headrace: done by `headrace_server`, which the light client does not bring."""

import argparse
import sys
from types import ModuleType

from headrace.versions import version as this_version


def up(args: argparse.Namespace) -> int:
    """Everything on this machine."""
    return _run("up", args)


def serve(args: argparse.Namespace) -> int:
    """Some services."""
    return _run("serve", args)


def migrate(args: argparse.Namespace) -> int:
    """The schemas."""
    return _run("migrate_database", args)


def topics(args: argparse.Namespace) -> int:
    """The topics."""
    return _run("topics", args)


def list_dead_letters(args: argparse.Namespace) -> int:
    """What consumers gave up."""
    return _run("list_dead_letters", args)


def replay_dead_letters(args: argparse.Namespace) -> int:
    """The same, sent once more."""
    return _run("replay_dead_letters", args)


def create_tenant(args: argparse.Namespace) -> int:
    """A tenant and its first token."""
    return _run("create_tenant", args)


def version(_args: argparse.Namespace) -> int:
    """The version of this client."""
    print(this_version())
    return 0


def _run(function: str, args: argparse.Namespace) -> int:
    try:
        commands = _commands()
    except ModuleNotFoundError as error:
        print(
            f"headrace: running a Headrace needs more than the client ({error.name} is missing):"
            ' pip install "headrace[server]"',
            file=sys.stderr,
        )
        return 1
    code: int = getattr(commands, function)(args)
    return code


def _commands() -> ModuleType:
    from headrace_server import cli  # noqa: PLC0415 - only with the server extra

    return cli
