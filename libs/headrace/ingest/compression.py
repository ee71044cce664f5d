"""Makes frames smaller where that pays."""

from typing import Final

from headrace import optional
from headrace.api.tracking.v1.metrics_pb2 import ENCODING_ZSTD, Frame
from headrace.ingest.settings import Compression

_LEAST_BYTES: Final = 512
"""Of some 50 points: zstd begins with tables of its own, and costs more than 0.1 microseconds a point below."""
_WORTH: Final = 0.25
"""Least part of the bytes that must go: what a noisy curve saves (0.15 to 0.2) is not worth the server's work."""
_REST: Final = 15
"""So many frames go as they are after one that was not worth it."""


class Compressor:
    """Decides and compresses, frame by frame, for one producer. For one thread at a time; lets others run meanwhile.

    `near` says that the server is on this machine, where bytes cost nothing. Raises ModuleNotFoundError where
    compression is asked for and there is no library for it; "auto" does without.
    """

    def __init__(self, wish: Compression, *, near: bool) -> None:
        self._always = wish == "on"
        self._rest = 0
        self._zstd = None if wish == "off" or (near and not self._always) else optional.zstd()
        if self._always and self._zstd is None:
            raise ModuleNotFoundError("compression=\"on\" needs zstd: pip install 'headrace[compression]'")

    def __call__(self, frame: Frame) -> None:
        """Compresses the columns of a frame, or leaves them."""
        size = len(frame.columns)
        if self._zstd is None or size < _LEAST_BYTES:
            return
        if self._rest:
            self._rest -= 1
            return
        smaller = self._zstd(frame.columns)
        if len(smaller) <= size * (1 - _WORTH):
            frame.columns = smaller
            frame.encoding = ENCODING_ZSTD
        elif not self._always:
            self._rest = _REST
