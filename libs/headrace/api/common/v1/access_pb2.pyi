from google.protobuf import descriptor_pb2 as _descriptor_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Role(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROLE_UNSPECIFIED: _ClassVar[Role]
    ROLE_PUBLIC: _ClassVar[Role]
    ROLE_VIEWER: _ClassVar[Role]
    ROLE_EDITOR: _ClassVar[Role]
    ROLE_ADMIN: _ClassVar[Role]
    ROLE_SERVICE: _ClassVar[Role]

class Resource(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RESOURCE_UNSPECIFIED: _ClassVar[Resource]
    RESOURCE_TENANT: _ClassVar[Resource]
    RESOURCE_EXPERIMENT: _ClassVar[Resource]
    RESOURCE_RUN: _ClassVar[Resource]
    RESOURCE_ARTIFACT: _ClassVar[Resource]
    RESOURCE_MODEL: _ClassVar[Resource]
    RESOURCE_DEPLOYMENT: _ClassVar[Resource]
    RESOURCE_EVENT: _ClassVar[Resource]
    RESOURCE_ROUTE: _ClassVar[Resource]
    RESOURCE_WEBHOOK: _ClassVar[Resource]
ROLE_UNSPECIFIED: Role
ROLE_PUBLIC: Role
ROLE_VIEWER: Role
ROLE_EDITOR: Role
ROLE_ADMIN: Role
ROLE_SERVICE: Role
RESOURCE_UNSPECIFIED: Resource
RESOURCE_TENANT: Resource
RESOURCE_EXPERIMENT: Resource
RESOURCE_RUN: Resource
RESOURCE_ARTIFACT: Resource
RESOURCE_MODEL: Resource
RESOURCE_DEPLOYMENT: Resource
RESOURCE_EVENT: Resource
RESOURCE_ROUTE: Resource
RESOURCE_WEBHOOK: Resource
ACCESS_FIELD_NUMBER: _ClassVar[int]
access: _descriptor.FieldDescriptor

class Access(_message.Message):
    __slots__ = ("role", "resource")
    ROLE_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_FIELD_NUMBER: _ClassVar[int]
    role: Role
    resource: Resource
    def __init__(self, role: _Optional[_Union[Role, str]] = ..., resource: _Optional[_Union[Resource, str]] = ...) -> None: ...
