from headrace.api.artifacts.v1 import artifacts_pb2 as _artifacts_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ArtifactStored(_message.Message):
    __slots__ = ("artifact", "replaced_artifact_id")
    ARTIFACT_FIELD_NUMBER: _ClassVar[int]
    REPLACED_ARTIFACT_ID_FIELD_NUMBER: _ClassVar[int]
    artifact: _artifacts_pb2.Artifact
    replaced_artifact_id: str
    def __init__(self, artifact: _Optional[_Union[_artifacts_pb2.Artifact, _Mapping]] = ..., replaced_artifact_id: _Optional[str] = ...) -> None: ...

class ArtifactDeleted(_message.Message):
    __slots__ = ("artifact_id", "owner", "path")
    ARTIFACT_ID_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    artifact_id: str
    owner: _artifacts_pb2.Owner
    path: str
    def __init__(self, artifact_id: _Optional[str] = ..., owner: _Optional[_Union[_artifacts_pb2.Owner, _Mapping]] = ..., path: _Optional[str] = ...) -> None: ...
