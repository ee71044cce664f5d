"""Peers in environments of their own, made from the versions that `bench/peers/*.txt` name."""

from pathlib import Path
from typing import Final, Literal

from headrace_kit.testing import peers
from headrace_kit.testing.peers import NoPeer
from rig.processes import BENCH

__all__ = ["PEERS", "NoPeer", "Peer", "python", "version"]

Peer = Literal["mlflow", "fasttrackml", "wandb"]
PEERS: Final[tuple[Peer, ...]] = ("mlflow", "fasttrackml", "wandb")


def version(peer: Peer) -> str:
    """The one that is measured."""
    return peers.version(_requirements(peer))


def python(peer: Peer) -> Path:
    """The interpreter of its environment. Raises NoPeer."""
    return peers.python(_requirements(peer))


def _requirements(peer: Peer) -> Path:
    return BENCH / "peers" / f"{peer}.txt"
