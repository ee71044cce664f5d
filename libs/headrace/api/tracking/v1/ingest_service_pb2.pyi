from headrace.api.common.v1 import access_pb2 as _access_pb2
from headrace.api.tracking.v1 import metrics_pb2 as _metrics_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class StreamMetricsRequest(_message.Message):
    __slots__ = ("open", "frame")
    OPEN_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    open: OpenStream
    frame: _metrics_pb2.Frame
    def __init__(self, open: _Optional[_Union[OpenStream, _Mapping]] = ..., frame: _Optional[_Union[_metrics_pb2.Frame, _Mapping]] = ...) -> None: ...

class OpenStream(_message.Message):
    __slots__ = ("run_id", "producer_id")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    PRODUCER_ID_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    producer_id: bytes
    def __init__(self, run_id: _Optional[str] = ..., producer_id: _Optional[bytes] = ...) -> None: ...

class StreamMetricsResponse(_message.Message):
    __slots__ = ("opened", "ack")
    OPENED_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    opened: StreamOpened
    ack: FrameAck
    def __init__(self, opened: _Optional[_Union[StreamOpened, _Mapping]] = ..., ack: _Optional[_Union[FrameAck, _Mapping]] = ...) -> None: ...

class StreamOpened(_message.Message):
    __slots__ = ("applied_seq", "window_bytes", "max_frame_bytes", "max_frame_points")
    APPLIED_SEQ_FIELD_NUMBER: _ClassVar[int]
    WINDOW_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_FRAME_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_FRAME_POINTS_FIELD_NUMBER: _ClassVar[int]
    applied_seq: int
    window_bytes: int
    max_frame_bytes: int
    max_frame_points: int
    def __init__(self, applied_seq: _Optional[int] = ..., window_bytes: _Optional[int] = ..., max_frame_bytes: _Optional[int] = ..., max_frame_points: _Optional[int] = ...) -> None: ...

class FrameAck(_message.Message):
    __slots__ = ("seq", "position", "refused")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    seq: int
    position: _metrics_pb2.Position
    refused: _containers.RepeatedCompositeFieldContainer[RefusedFrame]
    def __init__(self, seq: _Optional[int] = ..., position: _Optional[_Union[_metrics_pb2.Position, _Mapping]] = ..., refused: _Optional[_Iterable[_Union[RefusedFrame, _Mapping]]] = ...) -> None: ...

class RefusedFrame(_message.Message):
    __slots__ = ("seq", "points", "field", "message")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    seq: int
    points: int
    field: str
    message: str
    def __init__(self, seq: _Optional[int] = ..., points: _Optional[int] = ..., field: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...
