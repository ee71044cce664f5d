from headrace.api.tracking.v1 import tracking_pb2 as _tracking_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ExperimentCreated(_message.Message):
    __slots__ = ("experiment",)
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    experiment: _tracking_pb2.Experiment
    def __init__(self, experiment: _Optional[_Union[_tracking_pb2.Experiment, _Mapping]] = ...) -> None: ...

class ExperimentUpdated(_message.Message):
    __slots__ = ("experiment",)
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    experiment: _tracking_pb2.Experiment
    def __init__(self, experiment: _Optional[_Union[_tracking_pb2.Experiment, _Mapping]] = ...) -> None: ...

class ExperimentDeleted(_message.Message):
    __slots__ = ("experiment_id",)
    EXPERIMENT_ID_FIELD_NUMBER: _ClassVar[int]
    experiment_id: str
    def __init__(self, experiment_id: _Optional[str] = ...) -> None: ...

class ExperimentRestored(_message.Message):
    __slots__ = ("experiment_id",)
    EXPERIMENT_ID_FIELD_NUMBER: _ClassVar[int]
    experiment_id: str
    def __init__(self, experiment_id: _Optional[str] = ...) -> None: ...

class ExperimentPurged(_message.Message):
    __slots__ = ("experiment_id",)
    EXPERIMENT_ID_FIELD_NUMBER: _ClassVar[int]
    experiment_id: str
    def __init__(self, experiment_id: _Optional[str] = ...) -> None: ...

class RunCreated(_message.Message):
    __slots__ = ("run",)
    RUN_FIELD_NUMBER: _ClassVar[int]
    run: _tracking_pb2.Run
    def __init__(self, run: _Optional[_Union[_tracking_pb2.Run, _Mapping]] = ...) -> None: ...

class RunUpdated(_message.Message):
    __slots__ = ("run_id", "experiment_id", "name", "state", "params_logged", "tags_set", "tags_deleted", "inputs_logged", "input_models_logged", "output_models_logged")
    class ParamsLoggedEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class TagsSetEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENT_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PARAMS_LOGGED_FIELD_NUMBER: _ClassVar[int]
    TAGS_SET_FIELD_NUMBER: _ClassVar[int]
    TAGS_DELETED_FIELD_NUMBER: _ClassVar[int]
    INPUTS_LOGGED_FIELD_NUMBER: _ClassVar[int]
    INPUT_MODELS_LOGGED_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_MODELS_LOGGED_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    experiment_id: str
    name: str
    state: _tracking_pb2.Run.State
    params_logged: _containers.ScalarMap[str, str]
    tags_set: _containers.ScalarMap[str, str]
    tags_deleted: _containers.RepeatedScalarFieldContainer[str]
    inputs_logged: _containers.RepeatedCompositeFieldContainer[_tracking_pb2.DatasetInput]
    input_models_logged: _containers.RepeatedCompositeFieldContainer[_tracking_pb2.ModelUse]
    output_models_logged: _containers.RepeatedCompositeFieldContainer[_tracking_pb2.ModelUse]
    def __init__(self, run_id: _Optional[str] = ..., experiment_id: _Optional[str] = ..., name: _Optional[str] = ..., state: _Optional[_Union[_tracking_pb2.Run.State, str]] = ..., params_logged: _Optional[_Mapping[str, str]] = ..., tags_set: _Optional[_Mapping[str, str]] = ..., tags_deleted: _Optional[_Iterable[str]] = ..., inputs_logged: _Optional[_Iterable[_Union[_tracking_pb2.DatasetInput, _Mapping]]] = ..., input_models_logged: _Optional[_Iterable[_Union[_tracking_pb2.ModelUse, _Mapping]]] = ..., output_models_logged: _Optional[_Iterable[_Union[_tracking_pb2.ModelUse, _Mapping]]] = ...) -> None: ...

class RunEnded(_message.Message):
    __slots__ = ("run_id", "experiment_id", "state")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENT_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    experiment_id: str
    state: _tracking_pb2.Run.State
    def __init__(self, run_id: _Optional[str] = ..., experiment_id: _Optional[str] = ..., state: _Optional[_Union[_tracking_pb2.Run.State, str]] = ...) -> None: ...

class RunDeleted(_message.Message):
    __slots__ = ("run_id", "experiment_id")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENT_ID_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    experiment_id: str
    def __init__(self, run_id: _Optional[str] = ..., experiment_id: _Optional[str] = ...) -> None: ...

class RunRestored(_message.Message):
    __slots__ = ("run_id", "experiment_id")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENT_ID_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    experiment_id: str
    def __init__(self, run_id: _Optional[str] = ..., experiment_id: _Optional[str] = ...) -> None: ...

class RunPurged(_message.Message):
    __slots__ = ("run_id", "experiment_id")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENT_ID_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    experiment_id: str
    def __init__(self, run_id: _Optional[str] = ..., experiment_id: _Optional[str] = ...) -> None: ...

class LoggedModelCreated(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: _tracking_pb2.LoggedModel
    def __init__(self, model: _Optional[_Union[_tracking_pb2.LoggedModel, _Mapping]] = ...) -> None: ...

class LoggedModelFinalized(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: _tracking_pb2.LoggedModel
    def __init__(self, model: _Optional[_Union[_tracking_pb2.LoggedModel, _Mapping]] = ...) -> None: ...

class LoggedModelUpdated(_message.Message):
    __slots__ = ("model_id", "experiment_id", "params_logged", "tags_set", "tags_deleted", "lifecycle_stage")
    class ParamsLoggedEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class TagsSetEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENT_ID_FIELD_NUMBER: _ClassVar[int]
    PARAMS_LOGGED_FIELD_NUMBER: _ClassVar[int]
    TAGS_SET_FIELD_NUMBER: _ClassVar[int]
    TAGS_DELETED_FIELD_NUMBER: _ClassVar[int]
    LIFECYCLE_STAGE_FIELD_NUMBER: _ClassVar[int]
    model_id: str
    experiment_id: str
    params_logged: _containers.ScalarMap[str, str]
    tags_set: _containers.ScalarMap[str, str]
    tags_deleted: _containers.RepeatedScalarFieldContainer[str]
    lifecycle_stage: _tracking_pb2.LifecycleStage
    def __init__(self, model_id: _Optional[str] = ..., experiment_id: _Optional[str] = ..., params_logged: _Optional[_Mapping[str, str]] = ..., tags_set: _Optional[_Mapping[str, str]] = ..., tags_deleted: _Optional[_Iterable[str]] = ..., lifecycle_stage: _Optional[_Union[_tracking_pb2.LifecycleStage, str]] = ...) -> None: ...

class LoggedModelPurged(_message.Message):
    __slots__ = ("model_id", "experiment_id", "run_id")
    MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENT_ID_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    model_id: str
    experiment_id: str
    run_id: str
    def __init__(self, model_id: _Optional[str] = ..., experiment_id: _Optional[str] = ..., run_id: _Optional[str] = ...) -> None: ...
