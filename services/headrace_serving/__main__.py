"""`python -m headrace_serving`: one model, one port."""

import argparse
import importlib
import json
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from headrace_serving import limits

if TYPE_CHECKING:
    from headrace_serving.web import Serving

_STARTED: Final = time.perf_counter()


def main(arguments: Sequence[str] | None = None) -> int:
    """Serves until SIGTERM or SIGINT, then finishes what is under way and returns 0.

    Prints "READY serving http=<host>:<port> seconds=<since start>" on stdout once it answers; returns 1 with the
    reason on stderr when the model cannot be loaded.
    """
    options = _parser().parse_args(arguments)
    limits.apply(options.memory_bytes, options.file_bytes, options.open_files)
    if options.standby:
        _import_all()
        print("STANDBY", flush=True)  # noqa: T201 - as the ready line
        line = sys.stdin.readline()
        if not line:
            return 0
        options = _parser().parse_args(json.loads(line), options)
    if options.model_dir is None:
        return _failed("--model-dir is missing")
    started = time.perf_counter() if options.standby else _STARTED
    return _serve(options, started)


def _serve(options: argparse.Namespace, started: float) -> int:
    # Imported after the limits are set, and after a standby has them already.
    from headrace.models import ModelError  # noqa: PLC0415
    from headrace_serving.server import run  # noqa: PLC0415

    try:
        serving = _load(options)
        sock = _listen(options.host, options.port)
    except (ModelError, OSError) as error:
        return _failed(str(error))
    return run(serving, sock, options.drain_seconds, lambda address: _ready(address, started))


def _load(options: argparse.Namespace) -> "Serving":
    from headrace.models import ModelError, load  # noqa: PLC0415 - as in _serve
    from headrace_serving.web import Serving, warm_up  # noqa: PLC0415

    folder: Path = options.model_dir
    model = load(folder, allow_code=options.allow_code, trusted_types=options.trusted_types.split(","))
    example = folder / "serving_input_example.json"
    try:
        warm_up(model, example.read_bytes() if example.is_file() else None)
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        raise ModelError(f"the model cannot predict its own {example.name}: {what}") from error
    about = {
        "version": options.version_label,
        "model_uuid": model.model_uuid,
        "flavor": model.flavor,
        "signature": None if model.signature is None else model.signature.to_dict(),
    }
    return Serving(
        model,
        instance_id=options.instance_dir.name,
        about=about,
        threads=options.threads,
        max_body_bytes=options.max_body_bytes,
    )


def _ready(address: str, started: float) -> None:
    print(f"READY serving http={address} seconds={time.perf_counter() - started:.3f}", flush=True)  # noqa: T201


def _failed(message: str) -> int:
    print(f"headrace serving: {message}", file=sys.stderr)  # noqa: T201 - the last word of the process
    return 1


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sends without Nagle's delay only where the protocol is named; with it, every answer takes 40 ms.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"cannot listen on {host}:{port}: {error.strerror}; choose another port") from error
    return sock


def _import_all() -> None:
    """All that takes time and does not depend on the model."""
    for name in ("headrace.models.loading", "headrace.models.sklearn_flavor", "headrace_serving.server"):
        importlib.import_module(name)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m headrace_serving", description="Serves one model over HTTP.")
    add = parser.add_argument
    add("--model-dir", type=Path, help="folder with the MLmodel file")
    add("--host", default="127.0.0.1")
    add("--port", type=int, default=0, help="0 takes a free one")
    add("--version-label", default="", help="told by /version")
    add("--instance-dir", type=Path, default=Path(), help="folder of this process; its name is told by /ping")
    add("--threads", type=int, default=4, help="predictions at a time")
    add("--max-body-bytes", type=int, default=64 << 20)
    add("--drain-seconds", type=int, default=30, help="how long requests under way may take to end at SIGTERM")
    add("--allow-code", action="store_true", help="load models that run code when they are loaded")
    add("--trusted-types", default="", help="types to accept beside those skops trusts, with commas between")
    add("--memory-bytes", type=int, default=0, help="most memory; 0 is no limit")
    add("--file-bytes", type=int, default=0, help="largest file it may write, its log included; 0 is no limit")
    add("--open-files", type=int, default=0, help="most files and connections open; 0 is no limit")
    add("--standby", action="store_true", help="import everything, then wait for more arguments: a JSON list on stdin")
    return parser


if __name__ == "__main__":
    sys.exit(main())
