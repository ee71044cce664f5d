from headrace.api.common.v1 import access_pb2 as _access_pb2
from headrace.api.deployment.v1 import deployment_pb2 as _deployment_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class WatchRoutesRequest(_message.Message):
    __slots__ = ("generation",)
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    generation: int
    def __init__(self, generation: _Optional[int] = ...) -> None: ...

class WatchRoutesResponse(_message.Message):
    __slots__ = ("generation", "routes")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    ROUTES_FIELD_NUMBER: _ClassVar[int]
    generation: int
    routes: _containers.RepeatedCompositeFieldContainer[_deployment_pb2.Route]
    def __init__(self, generation: _Optional[int] = ..., routes: _Optional[_Iterable[_Union[_deployment_pb2.Route, _Mapping]]] = ...) -> None: ...
