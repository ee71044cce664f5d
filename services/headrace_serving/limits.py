"""What the process may use at most, set before anything of the model is read."""

import resource
from collections.abc import Mapping
from typing import Final

_NO_CORE_DUMPS: Final = 0


def apply(memory_bytes: int, file_bytes: int, open_files: int) -> None:
    """Lowers the limits of this process for good; 0 leaves one as it is.

    Memory is what is written to (RLIMIT_DATA), not the address space: numerical libraries reserve far more than they use.
    """
    wanted: Mapping[int, int] = {
        resource.RLIMIT_DATA: memory_bytes,
        resource.RLIMIT_FSIZE: file_bytes,
        resource.RLIMIT_NOFILE: open_files,
    }
    for kind, most in wanted.items():
        hard = resource.getrlimit(kind)[1]
        if most and (hard == resource.RLIM_INFINITY or most < hard):
            resource.setrlimit(kind, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (_NO_CORE_DUMPS, _NO_CORE_DUMPS))
