"""`make demo`: Headrace embedded, the cookie factory from its first batch to its last request, and a clean stop."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
DATA: Final = ROOT / ".run" / "data"


def main() -> int:
    """The exit code of the example, or 1 when Headrace itself did not start or stop."""
    http, grpc = _port(8080), _port(8081)
    command = [str(Path(sys.executable).with_name("headrace")), "up", "--data-dir", str(DATA)]
    command += ["--http-port", str(http), "--grpc-port", str(grpc)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as server:
        try:
            if not _ready(server):
                return 1
            uri = f"http://127.0.0.1:{http}"
            story = [sys.executable, str(ROOT / "examples" / "cookie_factory" / "bake.py"), "--uri", uri]
            code, closing = _tell(story, {**os.environ, "HEADRACE_URI": uri, "PYTHONUNBUFFERED": "1"})
        finally:
            server.send_signal(signal.SIGINT)
        rest, _ = server.communicate(timeout=60)
        print(rest, end="")
    print("\n`make up` starts it again with all of this in it; then look at http://127.0.0.1:8080, or:")
    print(
        "  .venv/bin/headrace runs list --experiment cookie-factory\n  .venv/bin/headrace deployments show cookie-judge"
    )
    print("".join(closing), end="")
    return code or server.returncode


def _tell(story: list[str], environ: dict[str, str]) -> tuple[int, list[str]]:
    """Runs the story and passes on what it says, but for its closing lines: those are kept for the end."""
    closing: list[str] = []
    with subprocess.Popen(story, stdout=subprocess.PIPE, text=True, env=environ) as process:
        for line in process.stdout or ():
            if closing or line.startswith("5. done"):
                closing.append(line)
            else:
                print(line, end="", flush=True)
    return process.returncode, closing


def _ready(server: "subprocess.Popen[str]") -> bool:
    """Passes on what Headrace says until it is ready; False when it ended instead."""
    for line in server.stdout or ():
        print(line, end="", flush=True)
        if line.startswith("Stop with"):
            return True
    print("Headrace did not start; its last lines are above", file=sys.stderr)
    return False


def _port(wanted: int) -> int:
    """The port, or a free one where it is taken."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    return wanted


if __name__ == "__main__":
    sys.exit(main())
