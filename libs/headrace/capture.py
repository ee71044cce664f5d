"""What is recorded of the program that makes a run: code, machine, user, environment.

The tags are MLflow's, so that its tools show them; what MLflow has no name for is under "headrace.".
"""

import getpass
import os
import platform
import re
import socket
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Final

from headrace.versions import version

REQUIREMENTS_PATH: Final = "environment/requirements.txt"
_GIT_S: Final = 2.0  # a repository so large that it takes longer is recorded without its state
_CREDENTIALS: Final = re.compile(r"(?<=//)[^/@]*@")


def run_tags() -> dict[str, str]:
    """The system tags of a run made by this program now. Takes some 10 ms, most of it git's, and 6 s at the very worst."""
    kind, name, folder = entry_point()
    return {
        "mlflow.user": user(),
        "mlflow.source.type": kind,
        "mlflow.source.name": name,
        "headrace.host": socket.gethostname(),
        "headrace.python": platform.python_version(),
        "headrace.client": version(),
        **git_tags(folder),
    }


def user() -> str:
    """Who runs this program; "unknown" where the system does not say, as for a bare number in a container."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def entry_point() -> tuple[str, str, Path]:
    """What was started: LOCAL or NOTEBOOK, its name, and the folder it is in."""
    main = sys.modules.get("__main__")
    notebook: object = os.environ.get("JPY_SESSION_NAME") or getattr(main, "__vsc_ipynb_file__", None)
    if "ipykernel" in sys.modules:
        return "NOTEBOOK", str(notebook or "notebook"), Path.cwd()
    file: object = getattr(main, "__file__", None)
    if not isinstance(file, str):
        return "LOCAL", sys.argv[0] or "python", Path.cwd()
    path = Path(file).absolute()
    return "LOCAL", str(path), path.parent


def git_tags(folder: Path) -> dict[str, str]:
    """Commit, branch, state and remote of the repository around a folder; nothing where there is none, or no git.

    Dirty are changes to tracked files. Credentials in the remote's address are left out.
    """
    status = _git(folder, "status", "--porcelain=v2", "--branch", "--untracked-files=no")
    if status is None:
        commit = _git(folder, "rev-parse", "HEAD")
        return {"mlflow.source.git.commit": commit.strip()} if commit else {}
    lines = status.splitlines()
    head = dict(line.removeprefix("# ").split(" ", 1) for line in lines if line.startswith("# "))
    remote = _git(folder, "config", "--get", "remote.origin.url") or ""
    tags = {
        "mlflow.source.git.commit": head.get("branch.oid", "").replace("(initial)", ""),
        "mlflow.source.git.branch": head.get("branch.head", "").replace("(detached)", ""),
        "mlflow.source.git.dirty": str(any(not line.startswith("#") for line in lines)).lower(),
        "mlflow.source.git.repoURL": _CREDENTIALS.sub("", remote.strip()),
    }
    return {key: value for key, value in tags.items() if value}


def requirements() -> str:
    """The distributions installed, one `name==version` a line, in order of name. Takes about 1 ms for each."""
    pinned = {
        f"{name}=={each.version}"
        for each in metadata.distributions()
        if (name := each.metadata["Name"])  # a half-removed distribution has none
    }
    return "".join(f"{line}\n" for line in sorted(pinned, key=str.lower))


def _git(folder: Path, *arguments: str) -> str | None:
    environ = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_GIT_S,
            env=environ,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
