"""The command `headrace`: starts a Headrace, and looks at what is in one."""

import os
import sys
from collections.abc import Sequence

from headrace import errors
from headrace.cli.parser import make_parser

_INTERRUPTED = 130  # 128 + SIGINT
_PIPE_CLOSED = 141  # 128 + SIGPIPE, as of a program that it had ended


def main(argv: Sequence[str] | None = None) -> int:
    """Does what the arguments say; the exit code: 0, 1 for an error told in one line, 2 for wrong arguments."""
    args = make_parser().parse_args(argv)
    try:
        code: int = args.run(args)
        sys.stdout.flush()
    except BrokenPipeError:  # `headrace runs list | head`: the reader has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nor may the interpreter's own flush fail
        return _PIPE_CLOSED
    except KeyboardInterrupt:
        return _INTERRUPTED
    except (errors.HeadraceError, OSError) as error:
        print(f"headrace: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return code
