"""What a source tells, as it is said to Headrace. No I/O."""

from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from headrace.api.registry.v1 import registry_pb2
from headrace.api.tracking.v1 import tracking_pb2
from headrace.imports.source import SourceExperiment, SourceModel, SourceRegisteredModel, SourceRun, SourceVersion
from headrace.records import DatasetInput

_RUN_NAME: Final = "mlflow.runName"
_CONTEXT: Final = "mlflow.data.context"
_STAGES: Final = {False: tracking_pb2.LIFECYCLE_STAGE_ACTIVE, True: tracking_pb2.LIFECYCLE_STAGE_DELETED}


def time(ms: int | None) -> Timestamp | None:
    """Milliseconds since 1970-01-01 UTC on the wire."""
    return None if ms is None else Timestamp(seconds=ms // 1000, nanos=ms % 1000 * 1_000_000)


def experiment(source: SourceExperiment, *, deleted: bool) -> tracking_pb2.Experiment:
    """An experiment, with the id that it wishes for."""
    return tracking_pb2.Experiment(
        experiment_id=source.wished_id,
        name=source.name,
        lifecycle_stage=_STAGES[deleted],
        tags=source.tags,
        create_time=time(source.create_ms),
        update_time=time(source.update_ms),
        artifact_location=source.artifact_location,
    )


def run(source: SourceRun, experiment_id: str) -> tracking_pb2.Run:
    """A run as it is to be in the end."""
    name = source.name or source.tags.get(_RUN_NAME, "")
    return tracking_pb2.Run(
        run_id=source.run_id,
        experiment_id=experiment_id,
        name=name,
        user_id=source.user,
        state=f"STATE_{source.state}",
        lifecycle_stage=_STAGES[source.deleted],
        start_time=time(source.start_ms),
        end_time=time(source.end_ms),
        params=source.params,
        tags={**source.tags, _RUN_NAME: name} if name else source.tags,
        inputs=map(_input, source.inputs),
        input_models=[tracking_pb2.ModelUse(model_id=used) for used in source.input_models],
        output_models=[tracking_pb2.ModelUse(model_id=made, step=step) for made, step in source.output_models],
    )


def opened(final: tracking_pb2.Run) -> tracking_pb2.Run:
    """The run while its points and files come: it has not ended, and is in no bin."""
    begun = tracking_pb2.Run()
    begun.CopyFrom(final)
    begun.state = tracking_pb2.Run.STATE_RUNNING
    begun.lifecycle_stage = tracking_pb2.LIFECYCLE_STAGE_ACTIVE
    begun.ClearField("end_time")
    return begun


def model(source: SourceModel, experiment_id: str) -> tracking_pb2.LoggedModel:
    """A logged model as it is to be in the end."""
    return tracking_pb2.LoggedModel(
        model_id=source.model_id,
        experiment_id=experiment_id,
        run_id=source.run_id,
        name=source.name,
        model_type=source.model_type,
        state=f"STATE_{source.state}",
        state_message=source.state_message,
        params=source.params,
        tags=source.tags,
        create_time=time(source.create_ms),
        update_time=time(source.update_ms),
        metrics=source.metrics,
        lifecycle_stage=_STAGES[source.deleted],
        user_id=source.user,
    )


def announced(final: tracking_pb2.LoggedModel) -> tracking_pb2.LoggedModel:
    """The logged model while its files come."""
    begun = tracking_pb2.LoggedModel()
    begun.CopyFrom(final)
    begun.state = tracking_pb2.LoggedModel.STATE_PENDING
    begun.lifecycle_stage = tracking_pb2.LIFECYCLE_STAGE_ACTIVE
    return begun


def registered(source: SourceRegisteredModel) -> registry_pb2.Model:
    """A registered model, with its aliases."""
    return registry_pb2.Model(
        name=source.name,
        description=source.description,
        tags=source.tags,
        aliases=source.aliases,
        create_time=time(source.create_ms),
        update_time=time(source.update_ms),
    )


def version(model_name: str, source: SourceVersion) -> registry_pb2.ModelVersion:
    """A version."""
    return registry_pb2.ModelVersion(
        model_name=model_name,
        version=source.number,
        model_id=source.made_of.model_id if source.made_of else source.model_id,
        run_id=source.run_id,
        description=source.description,
        tags=source.tags,
        user_id=source.user,
        source=source.source,
        run_link=source.run_link,
        stage=source.stage,
        create_time=time(source.create_ms),
        update_time=time(source.update_ms),
    )


def _input(source: DatasetInput) -> tracking_pb2.DatasetInput:
    one = source.dataset
    return tracking_pb2.DatasetInput(
        dataset=tracking_pb2.Dataset(
            name=one.name,
            digest=one.digest,
            source_type=one.source_type,
            source=one.source,
            schema=one.schema,
            profile=one.profile,
        ),
        tags={**source.tags, **({_CONTEXT: source.context} if source.context else {})},
    )
