from headrace.api.registry.v1 import registry_pb2 as _registry_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ModelCreated(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: _registry_pb2.Model
    def __init__(self, model: _Optional[_Union[_registry_pb2.Model, _Mapping]] = ...) -> None: ...

class ModelUpdated(_message.Message):
    __slots__ = ("model", "previous_name")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_NAME_FIELD_NUMBER: _ClassVar[int]
    model: _registry_pb2.Model
    previous_name: str
    def __init__(self, model: _Optional[_Union[_registry_pb2.Model, _Mapping]] = ..., previous_name: _Optional[str] = ...) -> None: ...

class ModelDeleted(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ModelVersionCreated(_message.Message):
    __slots__ = ("version",)
    VERSION_FIELD_NUMBER: _ClassVar[int]
    version: _registry_pb2.ModelVersion
    def __init__(self, version: _Optional[_Union[_registry_pb2.ModelVersion, _Mapping]] = ...) -> None: ...

class ModelVersionUpdated(_message.Message):
    __slots__ = ("version", "set_tags", "deleted_tags")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SET_TAGS_FIELD_NUMBER: _ClassVar[int]
    DELETED_TAGS_FIELD_NUMBER: _ClassVar[int]
    version: _registry_pb2.ModelVersion
    set_tags: _containers.RepeatedScalarFieldContainer[str]
    deleted_tags: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, version: _Optional[_Union[_registry_pb2.ModelVersion, _Mapping]] = ..., set_tags: _Optional[_Iterable[str]] = ..., deleted_tags: _Optional[_Iterable[str]] = ...) -> None: ...

class ModelVersionDeleted(_message.Message):
    __slots__ = ("model_name", "version")
    MODEL_NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    model_name: str
    version: int
    def __init__(self, model_name: _Optional[str] = ..., version: _Optional[int] = ...) -> None: ...

class ModelVersionPromoted(_message.Message):
    __slots__ = ("version", "alias", "previous_version", "renamed")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_VERSION_FIELD_NUMBER: _ClassVar[int]
    RENAMED_FIELD_NUMBER: _ClassVar[int]
    version: _registry_pb2.ModelVersion
    alias: str
    previous_version: int
    renamed: bool
    def __init__(self, version: _Optional[_Union[_registry_pb2.ModelVersion, _Mapping]] = ..., alias: _Optional[str] = ..., previous_version: _Optional[int] = ..., renamed: bool = ...) -> None: ...

class ModelAliasDeleted(_message.Message):
    __slots__ = ("model_name", "alias", "version", "implied")
    MODEL_NAME_FIELD_NUMBER: _ClassVar[int]
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    IMPLIED_FIELD_NUMBER: _ClassVar[int]
    model_name: str
    alias: str
    version: int
    implied: bool
    def __init__(self, model_name: _Optional[str] = ..., alias: _Optional[str] = ..., version: _Optional[int] = ..., implied: bool = ...) -> None: ...
