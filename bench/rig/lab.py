"""Everything that rows measure, each started when the first row asks for it."""

from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from headrace_kit.testing.backends import packages
from rig import peers, servers
from rig.peers import NoPeer, Peer

SPOOLS: Final = "spools"


@dataclass(frozen=True)
class Scale:
    """How much is measured."""

    rounds: int
    share: float
    """Of the full sizes."""
    long: bool
    """Whether the rows that take many minutes are among those to be measured."""

    def of(self, count: int) -> int:
        """So much of a full size, at least one."""
        return max(1, round(count * self.share))


class Lab:
    """The servers; all end with `stack`. `folder` is theirs alone."""

    def __init__(self, folder: Path, stack: ExitStack, scale: Scale, *, with_peers: bool) -> None:
        self.folder = folder
        self.scale = scale
        self.found: dict[str, float] = {}
        """What one row found out that another needs."""
        self._stack = stack
        self._with_peers = with_peers
        self._refused: set[Peer] = set()

    @cached_property
    def postgres(self) -> servers.Postgres:
        """The PostgreSQL of all but `embedded`."""
        return self._stack.enter_context(servers.Postgres(self.folder / "postgres").running())

    @cached_property
    def headrace(self) -> servers.Headrace:
        """With Kafka and PostgreSQL."""
        return self._stack.enter_context(servers.distributed(self.folder, self.postgres))

    @cached_property
    def gateway(self) -> servers.Gateway:
        """In front of `headrace`."""
        return self._stack.enter_context(servers.gateway(self.folder, self.headrace))

    @cached_property
    def embedded(self) -> servers.Headrace:
        """`headrace up`."""
        return self._stack.enter_context(servers.embedded(self.folder))

    @cached_property
    def mlflow(self) -> servers.PeerServer | None:
        """None where peers are not asked for, or this one cannot be had."""
        python = self.python("mlflow")
        return self._stack.enter_context(servers.mlflow(self.folder, self.postgres, python)) if python else None

    @cached_property
    def fasttrackml(self) -> servers.PeerServer | None:
        """As `mlflow`."""
        python = self.python("fasttrackml")
        return self._stack.enter_context(servers.fasttrackml(self.folder, self.postgres, python)) if python else None

    def python(self, peer: Peer) -> Path | None:
        """The interpreter that has this peer; None where peers are not asked for, or this one cannot be had."""
        if not self._with_peers or peer in self._refused:
            return None
        try:
            return peers.python(peer)
        except NoPeer as error:
            self._refused.add(peer)
            packages.say(str(error))
            return None
