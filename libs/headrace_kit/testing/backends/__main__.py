"""`python -m headrace_kit.testing.backends install|check|up`: the backends by hand.

install   builds what local processes need, once on a machine
check     says what is missing and how to get it; exits 1 then
up        runs the backends until Ctrl-C and prints the lines that let tests use them
"""

import shlex
import signal
import sys
import time
from collections.abc import Sequence
from typing import Final

from headrace_kit.testing.backends import (
    BackendError,
    Backends,
    Name,
    install,
    missing,
    open_backends,
    packages,
    source,
)

ALL: Final[frozenset[Name]] = frozenset({"postgres", "kafka", "s3", "s3_other"})
_USAGE: Final = 2
_WAYS_OUT: Final = """\
Or do without them, by one of:
  a Docker engine that answers (Debian: apt-get install docker.io; Fedora: dnf install moby-engine; macOS: brew install
  colima docker && colima start), with the images it pulls or those of HEADRACE_TEST_IMAGE_POSTGRES|KAFKA|MINIO|VERSITYGW
  servers that run already, named in HEADRACE_TEST_POSTGRES, _KAFKA, _S3_ENDPOINT and _S3_OTHER_ENDPOINT"""


def main(arguments: Sequence[str]) -> int:
    """Runs one of the commands and returns the exit code."""
    commands = {"install": _install, "check": _check, "up": _up}
    if len(arguments) != 1 or arguments[0] not in commands:
        print(__doc__, file=sys.stderr)  # noqa: T201 - a command
        return _USAGE
    try:
        return commands[arguments[0]]()
    except BackendError as error:
        packages.say(str(error))
        return 1


def _install() -> int:
    if _check() != 0:
        return 1
    if source() == "local":
        install(sorted(ALL), packages.say)
    return 0


def _check() -> int:
    lines = missing(ALL)
    if not lines:
        packages.say(f"all of {', '.join(sorted(ALL))} can be had ({source()})")
        return 0
    needs = "\n".join(f"  {line}" for line in lines)
    packages.say(f"Kafka and S3 stores cannot be started on this machine. Missing:\n{needs}\n{_WAYS_OUT}")
    return 1


def _up() -> int:
    with open_backends(ALL) as backends:
        for name, value in _environment(backends).items():
            print(f"export {name}={shlex.quote(value)}", flush=True)  # noqa: T201 - what the command is for
        packages.say("ready; Ctrl-C ends them")
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            return 0


def _environment(backends: Backends) -> dict[str, str]:
    found = {"HEADRACE_TEST_POSTGRES": backends.postgres, "HEADRACE_TEST_KAFKA": backends.kafka}
    for prefix, address in (("HEADRACE_TEST_S3", backends.s3), ("HEADRACE_TEST_S3_OTHER", backends.s3_other)):
        found |= {
            f"{prefix}_ENDPOINT": address.url,
            f"{prefix}_ACCESS_KEY": address.access_key,
            f"{prefix}_SECRET_KEY": address.secret_key,
        }
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
