"""Numbers of numpy as arrays of PostgreSQL, a row a series: number by number they would cost a microsecond each."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from psycopg import abc, adapt, postgres, pq
from psycopg.types import TypeInfo
from typing_extensions import override

_TYPES: Final = {"l": "int8", "q": "int8", "d": "float8"}


class NumbersDumper(adapt.Dumper):
    """One-dimensional arrays of int64 and float64 as bigint[] and float8[], in the form that `array_recv` reads."""

    format = pq.Format.BINARY

    @override
    def get_key(self, obj: NDArray[Any], format: adapt.PyFormat) -> abc.DumperKey:
        """A dumper a type."""
        return (self.cls, obj.dtype.type)

    @override
    def upgrade(self, obj: NDArray[Any], format: adapt.PyFormat) -> "NumbersDumper":
        """The one of this type."""
        made = NumbersDumper(self.cls, self.connection)
        made.oid = _info(obj).array_oid
        return made

    @override
    def dump(self, obj: NDArray[Any]) -> bytes:
        """Dimensions, no NULLs, the type, the length, the first index; then each number behind its length."""
        head = np.array([1, 0, _info(obj).oid, len(obj), 1], ">i4")
        rows = np.empty(len(obj), [("bytes", ">i4"), ("number", obj.dtype.newbyteorder(">"))])
        rows["bytes"], rows["number"] = 8, obj
        return head.tobytes() + rows.tobytes()


def _info(obj: NDArray[Any]) -> TypeInfo:
    return postgres.types[_TYPES[obj.dtype.char]]
