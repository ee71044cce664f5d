"""Rows as protobuf, and protobuf as rows."""

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from google.protobuf.timestamp_pb2 import Timestamp

from headrace.api.tracking.v1 import tracking_pb2 as pb
from headrace_tracking.search.vocabulary import RUN_NAME_TAG
from headrace_tracking.store.experiments import ExperimentRow
from headrace_tracking.store.inputs import DatasetKey, DatasetRow, InputRow
from headrace_tracking.store.models import MeasuredRow, ModelRow
from headrace_tracking.store.runs import MADE, USED, LatestMetric, RunRow


def experiment(row: ExperimentRow) -> pb.Experiment:
    """An experiment."""
    return pb.Experiment(
        experiment_id=str(row.experiment_id),
        name=row.name,
        lifecycle_stage=_stage(row.delete_ms),
        tags=row.tags,
        create_time=_time(row.create_ms),
        update_time=_time(row.update_ms),
        artifact_location=row.artifact_location,
    )


def run(row: RunRow) -> pb.Run:
    """A run, without its metrics and inputs."""
    return pb.Run(
        run_id=row.run_id.hex,
        experiment_id=str(row.experiment_id),
        name=row.tags.get(RUN_NAME_TAG, ""),
        user_id=row.user_id,
        state=run_state(row.state),
        lifecycle_stage=_stage(row.delete_ms),
        start_time=_time(row.start_ms),
        end_time=None if row.end_ms is None else _time(row.end_ms),
        params=row.params,
        tags=row.tags,
        artifact_location=row.artifact_location,
        input_models=model_uses(row.models.get(USED, {})),
        output_models=model_uses(row.models.get(MADE, {})),
    )


def model_uses(uses: Mapping[str, int]) -> list[pb.ModelUse]:
    """In order of step."""
    return [pb.ModelUse(model_id=model, step=step) for model, step in sorted(uses.items(), key=lambda use: use[::-1])]


def add_metrics(runs: Sequence[pb.Run], latest: Iterable[LatestMetric]) -> None:
    """Puts them into their runs."""
    # In place, field by field: as arguments, and copied from a list, it takes three times as long.
    for number, key, value, step, time_ms, least, greatest in latest:
        metric = runs[number - 1].metrics.add()
        metric.key, metric.value, metric.step, metric.time_ms = key, value, step, time_ms
        if least is not None:
            metric.least = least
        if greatest is not None:
            metric.greatest = greatest


def inputs(rows: Sequence[InputRow], datasets: Mapping[DatasetKey, DatasetRow]) -> list[pb.DatasetInput]:
    """What a run used."""
    return [pb.DatasetInput(dataset=_dataset(datasets[row.dataset_key]), tags=row.tags) for row in rows]


def dataset_row(experiment_id: int, message: pb.Dataset) -> DatasetRow:
    """A dataset as it is kept."""
    return DatasetRow(
        experiment_id=experiment_id,
        name=message.name,
        digest=message.digest,
        source_type=message.source_type,
        source=message.source,
        schema=message.schema,
        profile=message.profile,
    )


def model(row: ModelRow, measured: Sequence[MeasuredRow] = ()) -> pb.LoggedModel:
    """A logged model, with what was measured of it."""
    return pb.LoggedModel(
        model_id=model_id(row),
        experiment_id=str(row.experiment_id),
        run_id=row.run_id.hex if row.run_id else "",
        name=row.name,
        model_type=row.model_type,
        state=cast("pb.LoggedModel.State", pb.LoggedModel.State.Value(f"STATE_{row.state}")),
        state_message=row.state_message,
        params=row.params,
        tags=row.tags,
        create_time=_time(row.create_ms),
        update_time=_time(row.update_ms),
        metrics=[_measured(one) for one in measured],
        lifecycle_stage=_stage(row.delete_ms),
        user_id=row.user_id,
        artifact_location=row.artifact_location,
    )


def _measured(row: MeasuredRow) -> pb.ModelMetric:
    return pb.ModelMetric(
        key=row.key,
        value=row.value,
        step=row.step,
        time_ms=row.time_ms,
        run_id=row.run_id.hex,
        dataset_name=row.dataset_name,
        dataset_digest=row.dataset_digest,
    )


def model_id(row: ModelRow) -> str:
    """The id as callers know it."""
    return f"m-{row.model_id.hex}"


def run_state_name(state: pb.Run.State) -> str:
    """The name of a state, as rows have it."""
    return pb.Run.State.Name(state).removeprefix("STATE_")


def model_state_name(state: pb.LoggedModel.State) -> str:
    """The name of a state, as rows have it."""
    return pb.LoggedModel.State.Name(state).removeprefix("STATE_")


def run_state(text: str) -> pb.Run.State:
    """The state of this name."""
    return cast("pb.Run.State", pb.Run.State.Value(f"STATE_{text}"))


def _dataset(row: DatasetRow) -> pb.Dataset:
    return pb.Dataset(
        name=row.name,
        digest=row.digest,
        source_type=row.source_type,
        source=row.source,
        schema=row.schema,
        profile=row.profile,
    )


def _stage(delete_ms: int | None) -> pb.LifecycleStage:
    return pb.LIFECYCLE_STAGE_ACTIVE if delete_ms is None else pb.LIFECYCLE_STAGE_DELETED


def _time(ms: int) -> Timestamp:
    return Timestamp(seconds=ms // 1000, nanos=ms % 1000 * 1_000_000)
