"""The framing of TensorFlow's record files: length, masked CRC-32C of the length, data, masked CRC-32C of the data."""

import os
import struct
from collections.abc import Iterator
from typing import BinaryIO, Final

from crc32c import crc32c

_LENGTH: Final = struct.Struct("<QI")
_CRC: Final = struct.Struct("<I")


class RecordFile:
    """The records of a file from where it stands, each with the place where it begins."""

    lost: int
    """So many bytes, of those read, are in no whole record: of a writer that was killed, or damaged since."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.lost = 0

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        """Behind a damaged length nothing is found any more; damaged data is passed over."""
        size = os.fstat(self._file.fileno()).st_size
        at = self._file.tell()
        while at < size:
            head = self._file.read(_LENGTH.size)
            length = self._length(head)
            end = at + _LENGTH.size + length + _CRC.size
            if length < 0 or end > size:
                self.lost += size - at
                return
            data = self._file.read(length)
            if _CRC.unpack(self._file.read(_CRC.size))[0] == masked(data):
                yield at, data
            else:
                self.lost += end - at
            at = end

    def _length(self, head: bytes) -> int:
        if len(head) < _LENGTH.size:
            return -1
        length, crc = _LENGTH.unpack(head)
        return int(length) if crc == masked(head[:8]) else -1


def masked(data: bytes) -> int:
    """A checksum that may stand in what is itself checked."""
    plain = crc32c(data)
    return ((plain >> 15 | plain << 17) + 0xA282EAD8) & 0xFFFFFFFF
