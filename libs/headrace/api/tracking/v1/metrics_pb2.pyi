from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Encoding(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ENCODING_UNSPECIFIED: _ClassVar[Encoding]
    ENCODING_ZSTD: _ClassVar[Encoding]
ENCODING_UNSPECIFIED: Encoding
ENCODING_ZSTD: Encoding

class Frame(_message.Message):
    __slots__ = ("seq", "series", "encoding", "columns")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    SERIES_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    seq: int
    series: _containers.RepeatedCompositeFieldContainer[SeriesHeader]
    encoding: Encoding
    columns: bytes
    def __init__(self, seq: _Optional[int] = ..., series: _Optional[_Iterable[_Union[SeriesHeader, _Mapping]]] = ..., encoding: _Optional[_Union[Encoding, str]] = ..., columns: _Optional[bytes] = ...) -> None: ...

class SeriesHeader(_message.Message):
    __slots__ = ("key", "count")
    KEY_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    key: str
    count: int
    def __init__(self, key: _Optional[str] = ..., count: _Optional[int] = ...) -> None: ...

class MetricColumns(_message.Message):
    __slots__ = ("step_deltas", "time_deltas", "values")
    STEP_DELTAS_FIELD_NUMBER: _ClassVar[int]
    TIME_DELTAS_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    step_deltas: _containers.RepeatedScalarFieldContainer[int]
    time_deltas: _containers.RepeatedScalarFieldContainer[int]
    values: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, step_deltas: _Optional[_Iterable[int]] = ..., time_deltas: _Optional[_Iterable[int]] = ..., values: _Optional[_Iterable[float]] = ...) -> None: ...

class Position(_message.Message):
    __slots__ = ("partition", "offset")
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    partition: int
    offset: int
    def __init__(self, partition: _Optional[int] = ..., offset: _Optional[int] = ...) -> None: ...

class RoutedFrame(_message.Message):
    __slots__ = ("tenant_id", "run_id", "producer_id", "frame")
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    PRODUCER_ID_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    tenant_id: str
    run_id: str
    producer_id: bytes
    frame: Frame
    def __init__(self, tenant_id: _Optional[str] = ..., run_id: _Optional[str] = ..., producer_id: _Optional[bytes] = ..., frame: _Optional[_Union[Frame, _Mapping]] = ...) -> None: ...

class FramePack(_message.Message):
    __slots__ = ("frames",)
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    frames: _containers.RepeatedCompositeFieldContainer[RoutedFrame]
    def __init__(self, frames: _Optional[_Iterable[_Union[RoutedFrame, _Mapping]]] = ...) -> None: ...

class MetricBlock(_message.Message):
    __slots__ = ("run_id", "key", "steps", "time_ms", "values")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    key: str
    steps: bytes
    time_ms: bytes
    values: bytes
    def __init__(self, run_id: _Optional[str] = ..., key: _Optional[str] = ..., steps: _Optional[bytes] = ..., time_ms: _Optional[bytes] = ..., values: _Optional[bytes] = ...) -> None: ...
