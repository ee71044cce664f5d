"""Peers in environments of their own, each made once on a machine from the versions that `bench/peers/*.txt` name."""

import fcntl
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final, Literal

from headrace_kit.testing.backends import packages
from rig.processes import BENCH

Peer = Literal["mlflow", "fasttrackml", "wandb"]
PEERS: Final[tuple[Peer, ...]] = ("mlflow", "fasttrackml", "wandb")


class NoPeer(Exception):  # noqa: N818 - says what is missing
    """A peer cannot be installed here; the message says why."""


def version(peer: Peer) -> str:
    """The one that is measured."""
    return next(line.partition("==")[2] for line in _wanted(peer) if line.startswith(f"{peer}=="))


def python(peer: Peer) -> Path:
    """The interpreter of its environment, which is made when it is missing: a minute or two, once."""
    folder = packages.cache_folder().parent / "peers" / f"{peer}-{version(peer)}"
    if (folder / "bin" / "python").exists():
        return folder / "bin" / "python"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            packages.say(f"installing {peer} {version(peer)} into {folder} (once on this machine)")
            _make(folder, peer)
    return folder / "bin" / "python"


def _make(folder: Path, peer: Peer) -> None:
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(
        [*pip, "-r", str(BENCH / "peers" / f"{peer}.txt")], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        shutil.rmtree(folder)  # what is there is taken for whole
        raise NoPeer(f"{peer} {version(peer)} cannot be installed:\n{done.stderr[-1000:]}")


def _wanted(peer: Peer) -> list[str]:
    lines = (BENCH / "peers" / f"{peer}.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]
