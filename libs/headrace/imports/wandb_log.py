"""The framing of a `.wandb` file: LevelDB's log format behind a header of its own, with plain CRC-32.

Blocks of 32 KiB; a record lies in one fragment or in several, none of which crosses the end of a block.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO, Final

from headrace import errors

HEADER: Final = b":W&B\xe1\xbe\x00"
BLOCK: Final = 1 << 15
_FRAGMENT: Final = struct.Struct("<IHB")  # CRC of type and data, length, type
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


class RecordLog:
    """The records of a file, read once. Raises InvalidRequest where it is no such file."""

    lost: int
    """So many bytes, of those read, are in no whole record: of a writer that was killed, or damaged since.

    Zeros up to the end of a block are none of them: a file system leaves such behind where a machine went down.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._parts: list[bytes] = []  # of a record whose end has not come yet
        self.lost = 0

    def __iter__(self) -> Iterator[bytes]:
        if (header := self._file.read(len(HEADER))) != HEADER:
            raise errors.InvalidRequest(f"must begin with {HEADER!r} as .wandb files do, got {header!r}")
        block = self._file.read(BLOCK - len(HEADER))
        while block:
            yield from self._records(block)
            block = self._file.read(BLOCK)
        self._drop()

    def _records(self, block: bytes) -> Iterator[bytes]:
        for kind, data in self._fragments(block):
            if kind in (FULL, FIRST):
                self._drop()
            elif not self._parts:  # its beginning was lost
                self.lost += len(data)
                continue
            self._parts.append(data)
            if kind in (FULL, LAST):
                yield b"".join(self._parts)
                self._parts.clear()

    def _fragments(self, block: bytes) -> Iterator[tuple[int, bytes]]:
        """Those before the first damage: where the next one behind it begins, only the next block tells."""
        at = 0
        while len(block) - at >= _FRAGMENT.size:
            crc, length, kind = _FRAGMENT.unpack_from(block, at)
            data = block[at + _FRAGMENT.size : at + _FRAGMENT.size + length]
            if not FULL <= kind <= LAST or len(data) < length or zlib.crc32(data, zlib.crc32(bytes([kind]))) != crc:
                break
            yield kind, data
            at += _FRAGMENT.size + length
        if len(block) - at >= _FRAGMENT.size:
            self._drop()  # what the next block goes on with is not its rest
        if block[at:].strip(b"\x00"):
            self.lost += len(block) - at

    def _drop(self) -> None:
        self.lost += sum(map(len, self._parts))
        self._parts.clear()
