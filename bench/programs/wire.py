"""How a program talks to the bench: a JSON object a line, what it says on stdout, what it hears on stdin.

Times are of CLOCK_MONOTONIC, which all processes of a machine share.
"""

import json
import sys
import time
from typing import Any, cast

now = time.monotonic


def given() -> dict[str, Any]:
    """The arguments of this program."""
    return cast("dict[str, Any]", json.loads(sys.argv[1]))


def say(**message: object) -> None:
    """Tells the bench."""
    print(json.dumps(message), flush=True)


def hear() -> None:
    """Waits for a word of the bench; ends the program when there will be none."""
    if not sys.stdin.readline():
        sys.exit("the bench is gone")
