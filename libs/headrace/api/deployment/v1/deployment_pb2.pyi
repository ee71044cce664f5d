from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Deployment(_message.Message):
    __slots__ = ("name", "model_name", "alias", "wanted_version", "serving_version", "state", "message", "path", "create_time", "update_time", "instances")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[Deployment.State]
        STATE_DEPLOYING: _ClassVar[Deployment.State]
        STATE_SERVING: _ClassVar[Deployment.State]
        STATE_FAILED: _ClassVar[Deployment.State]
        STATE_STOPPED: _ClassVar[Deployment.State]
    STATE_UNSPECIFIED: Deployment.State
    STATE_DEPLOYING: Deployment.State
    STATE_SERVING: Deployment.State
    STATE_FAILED: Deployment.State
    STATE_STOPPED: Deployment.State
    NAME_FIELD_NUMBER: _ClassVar[int]
    MODEL_NAME_FIELD_NUMBER: _ClassVar[int]
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    WANTED_VERSION_FIELD_NUMBER: _ClassVar[int]
    SERVING_VERSION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    INSTANCES_FIELD_NUMBER: _ClassVar[int]
    name: str
    model_name: str
    alias: str
    wanted_version: int
    serving_version: int
    state: Deployment.State
    message: str
    path: str
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    instances: _containers.RepeatedCompositeFieldContainer[Instance]
    def __init__(self, name: _Optional[str] = ..., model_name: _Optional[str] = ..., alias: _Optional[str] = ..., wanted_version: _Optional[int] = ..., serving_version: _Optional[int] = ..., state: _Optional[_Union[Deployment.State, str]] = ..., message: _Optional[str] = ..., path: _Optional[str] = ..., create_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., instances: _Optional[_Iterable[_Union[Instance, _Mapping]]] = ...) -> None: ...

class Instance(_message.Message):
    __slots__ = ("instance_id", "version", "state", "message", "address", "create_time")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[Instance.State]
        STATE_STARTING: _ClassVar[Instance.State]
        STATE_READY: _ClassVar[Instance.State]
        STATE_DRAINING: _ClassVar[Instance.State]
        STATE_STOPPED: _ClassVar[Instance.State]
        STATE_FAILED: _ClassVar[Instance.State]
    STATE_UNSPECIFIED: Instance.State
    STATE_STARTING: Instance.State
    STATE_READY: Instance.State
    STATE_DRAINING: Instance.State
    STATE_STOPPED: Instance.State
    STATE_FAILED: Instance.State
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    instance_id: str
    version: int
    state: Instance.State
    message: str
    address: str
    create_time: _timestamp_pb2.Timestamp
    def __init__(self, instance_id: _Optional[str] = ..., version: _Optional[int] = ..., state: _Optional[_Union[Instance.State, str]] = ..., message: _Optional[str] = ..., address: _Optional[str] = ..., create_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class HistoryEntry(_message.Message):
    __slots__ = ("time", "version", "what", "message")
    TIME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    WHAT_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    time: _timestamp_pb2.Timestamp
    version: int
    what: str
    message: str
    def __init__(self, time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., version: _Optional[int] = ..., what: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class Route(_message.Message):
    __slots__ = ("tenant_id", "deployment_name", "version", "addresses", "traceparent")
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENT_NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    tenant_id: str
    deployment_name: str
    version: int
    addresses: _containers.RepeatedScalarFieldContainer[str]
    traceparent: str
    def __init__(self, tenant_id: _Optional[str] = ..., deployment_name: _Optional[str] = ..., version: _Optional[int] = ..., addresses: _Optional[_Iterable[str]] = ..., traceparent: _Optional[str] = ...) -> None: ...
