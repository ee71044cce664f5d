"""Command lines for child processes: ended with their parent, and run without root's rights."""

import os
import pwd
import shutil
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

ACCOUNTS: Final = ("headrace", "postgres", "nobody")
# Capabilities that let a process pass folders its account could not, the weaker first: (name, bit in /proc).
_PASSES: Final = (("dac_read_search", 2), ("dac_override", 1))


@dataclass(frozen=True)
class Account:
    """Whom a process runs as."""

    uid: int
    gid: int

    @property
    def is_current(self) -> bool:
        """Whether this process runs as that account already."""
        return self.uid == os.geteuid()


def unprivileged_account() -> Account:
    """The account for a program that refuses to run as root: the caller's own, unless that is root; then the
    first of `ACCOUNTS` that exists.
    """
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid())
    for name in ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Account(entry.pw_uid, entry.pw_gid)
    raise OSError(
        f"root cannot run this, and none of the accounts {', '.join(ACCOUNTS)} exists: add one, or do not be root"
    )


def ended_with_parent(command: Sequence[str], signal: Literal["INT", "TERM", "KILL"]) -> list[str]:
    """The command, so that Linux sends it `signal` when its parent ends in whatever way; elsewhere as it is.

    The parent is the *thread* that starts it: start it from one that lives as long as the child should.
    """
    setpriv = shutil.which("setpriv")
    return [setpriv, f"--pdeathsig={signal}", "--", *command] if setpriv else list(command)


def as_account(command: Sequence[str], account: Account, passing: Iterable[Path] = ()) -> list[str]:
    """The command, run as the account though the caller is root. Needs `setpriv` (util-linux).

    `passing` are files the command opens. Where a folder above one of them is closed to the account (a data folder
    under /root, say), the command gets the capability to pass it; no mode of a folder is changed. Raises `OSError`
    when it cannot be had.
    """
    if account.is_current:
        return list(command)
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise OSError(
            "`setpriv` is missing, which starts PostgreSQL without root's rights: install util-linux, or do not be root"
        )
    closed = next(
        (folder for path in passing for folder in path.absolute().parents if not _passable(folder, account)), None
    )
    rights: list[str] = []
    if closed is not None:
        name = _capability(closed)
        # access(2) drops capabilities of a process whose real uid is not 0 unless no_setuid_fixup is set, and
        # PostgreSQL calls it on its own path.
        rights = [f"--inh-caps=-all,+{name}", f"--ambient-caps=-all,+{name}", "--securebits=+no_setuid_fixup"]
    return [setpriv, f"--reuid={account.uid}", f"--regid={account.gid}", "--clear-groups", *rights, "--", *command]


def _passable(folder: Path, account: Account) -> bool:
    status = folder.stat()
    return bool(status.st_mode & (stat.S_IXUSR if status.st_uid == account.uid else stat.S_IXOTH))


def _capability(closed: Path) -> str:
    held = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapPrm:"))
    mask = int(held.split()[1], 16)
    for name, bit in _PASSES:
        if mask >> bit & 1:
            return name
    raise OSError(
        f"{closed} is closed to other accounts, and this root may not pass on the right to enter it: choose another folder"
    )
