"""How much the metric path may hold, and what it does when that is full."""

from dataclasses import dataclass
from typing import Literal

Compression = Literal["auto", "on", "off"]


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestSettings:
    """Limits of the metric path of one client. All have working defaults."""

    age_s: float = 0.03
    """A point is framed at most so long after it was logged, while the server takes frames and has acknowledged those before.
    While it has not, points wait for that too, unless they fill a frame or `flush` asks for them."""
    frame_points: int = 8_192
    """About 100 KiB. The server's limit holds where it is lower."""
    frame_bytes: int = 1 << 20
    compression: Compression = "auto"
    """Whether frames are compressed (zstd 1): "auto" does where the server is on another machine, or the run offline, and
    where it saves a quarter; needs `headrace[compression]`, or Python 3.14, and does without where neither is there."""
    queue_points: int = 200_000
    """Points of a run not framed yet: about 30 MB of Python objects."""
    kept_bytes: int = 32 << 20
    """Frames of a run not acknowledged yet, in memory: about 3 million points. Beyond that, they go to the spool."""
    overflow: Literal["block", "drop_oldest"] = "block"
    """With a full queue, `log` either waits up to `block_s` and then drops new points until there is room again,
    or drops the oldest points at once. Either way they are counted, and told once when the run ends."""
    block_s: float = 30.0
    stall_s: float = 60.0
    """A stream on which frames wait so long for an acknowledgement is opened anew."""
    spool_dir: str = ""
    """Where frames are kept on disk while the server is away; empty: HEADRACE_SPOOL, or ~/.local/state/headrace/spool."""
    spool_bytes: int = 1 << 30
    """Most bytes of one run's spool file in one process; 0 for no spool. Windows has none."""
    system_metrics_s: float = 10.0
    """How often metrics of the machine are logged, where a run asks for them."""
    exit_s: float = 10.0
    """How long the end of the program waits for what was logged and not acknowledged."""
    strict: bool = False
    """Whether `log` raises what is otherwise only warned of and counted."""
