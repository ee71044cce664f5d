"""A Headrace as a source: what is exported, told as any tracker's is."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import IO, BinaryIO, Final, cast

from headrace import errors
from headrace.api.registry.v1 import registry_pb2
from headrace.api.registry.v1 import registry_service_pb2 as registry
from headrace.api.tracking.v1 import tracking_pb2
from headrace.api.tracking.v1 import tracking_service_pb2 as wire
from headrace.client import Client
from headrace.imports.source import (
    SourceExperiment,
    SourceFile,
    SourceModel,
    SourceRegisteredModel,
    SourceRun,
    SourceVersion,
)
from headrace.records import Artifact, Dataset, DatasetInput, MetricHistory

_DELETED: Final = tracking_pb2.LIFECYCLE_STAGE_DELETED
_RUNS: Final = 500
_READ_S: Final = 600.0


class Ours:
    """A source. Logged models in the bin are told only where a run names them: no list has them."""

    def __init__(self, client: Client, experiments: Sequence[str], *, files: bool) -> None:
        self._client = client
        self._connection = client.connection
        self._files = files
        self._wanted = set(experiments)
        self._experiments = list(self._known())
        self._names = {one.experiment_id: one.name for one in self._experiments}
        self._used: set[str] = set()
        self._models: set[str] = set()

    def _known(self) -> Iterator[tracking_pb2.Experiment]:
        request = wire.SearchExperimentsRequest(view_type=wire.VIEW_TYPE_ALL, order_by=["create_time ASC"])
        for page in self._connection.pages(lambda c: c.tracking.SearchExperiments, request):
            yield from (one for one in page.experiments if not self._wanted or one.name in self._wanted)

    def experiments(self) -> Iterator[SourceExperiment]:
        """Those in the bin too."""
        for one in self._experiments:
            yield SourceExperiment(
                name=one.name, wished_id=one.experiment_id, tags=dict(one.tags), deleted=one.lifecycle_stage == _DELETED
            )

    def runs(self) -> Iterator[SourceRun]:
        """The oldest first."""
        for experiment in self._experiments:
            request = wire.SearchRunsRequest(
                experiment_ids=[experiment.experiment_id],
                view_type=wire.VIEW_TYPE_ALL,
                order_by=["start_time ASC"],
                page_size=_RUNS,
            )
            for page in self._connection.pages(lambda c: c.tracking.SearchRuns, request):
                yield from map(partial(self._run, experiment.name), page.runs)

    def _run(self, experiment: str, one: tracking_pb2.Run) -> SourceRun:
        used = tuple(use.model_id for use in one.input_models)
        made = tuple((use.model_id, use.step) for use in one.output_models)
        self._used.update(used, (model_id for model_id, _ in made))
        return SourceRun(
            run_id=one.run_id,
            experiment=experiment,
            name=one.name,
            user=one.user_id,
            state=tracking_pb2.Run.State.Name(one.state).removeprefix("STATE_"),
            start_ms=one.start_time.ToMilliseconds(),
            end_ms=one.end_time.ToMilliseconds() if one.HasField("end_time") else None,
            params=dict(one.params),
            tags=dict(one.tags),
            inputs=tuple(map(_input, one.inputs)),
            series=partial(self._series, one.run_id),
            files=partial(self._files_of, one.run_id),
            input_models=used,
            output_models=made,
            deleted=one.lifecycle_stage == _DELETED,
        )

    def _series(self, run_id: str) -> Iterator[MetricHistory]:
        request = wire.ReadMetricsRequest(run_ids=[run_id])
        series: MetricHistory | None = None
        for answer in self._connection.stream(lambda c: c.tracking.ReadMetrics, request, timeout_s=_READ_S):
            if series is None or series.key != answer.block.key:
                if series is not None:
                    yield series
                series = MetricHistory(answer.block.key)
            series.extend(answer.block)
        if series is not None:
            yield series

    def models(self) -> Iterator[SourceModel]:
        """Those that are listed, then those that only runs name."""
        for experiment in self._experiments:
            request = wire.ListLoggedModelsRequest(experiment_id=experiment.experiment_id, page_size=1000)
            for page in self._connection.pages(lambda c: c.tracking.ListLoggedModels, request):
                yield from map(self._model, page.models)
        for model_id in sorted(self._used - self._models):
            try:
                by_id = wire.GetLoggedModelRequest(model_id=model_id, show_deleted=True)
                found = self._connection.call(lambda c: c.tracking.GetLoggedModel, by_id).model
            except errors.NotFound:
                continue
            if found.experiment_id in self._names:
                yield self._model(found)

    def _model(self, one: tracking_pb2.LoggedModel) -> SourceModel:
        self._models.add(one.model_id)
        return SourceModel(
            model_id=one.model_id,
            experiment=self._names[one.experiment_id],
            run_id=one.run_id,
            name=one.name,
            model_type=one.model_type,
            state=tracking_pb2.LoggedModel.State.Name(one.state).removeprefix("STATE_"),
            state_message=one.state_message,
            user=one.user_id,
            params=dict(one.params),
            tags=dict(one.tags),
            create_ms=one.create_time.ToMilliseconds(),
            update_ms=one.update_time.ToMilliseconds(),
            metrics=tuple(one.metrics),
            files=partial(self._files_of, one.model_id),
            deleted=one.lifecycle_stage == _DELETED,
        )

    def registered(self) -> Iterator[SourceRegisteredModel]:
        """Where experiments were named, those with a version of a logged model of theirs."""
        for page in self._connection.pages(lambda c: c.registry.ListModels, registry.ListModelsRequest()):
            for one in page.models:
                versions = sorted(map(_version, self._versions(one.name)), key=lambda version: version.number)
                kept = [each for each in versions if not self._wanted or each.model_id in self._models]
                if self._wanted and not kept:
                    continue
                numbers = {each.number for each in kept}
                yield SourceRegisteredModel(
                    name=one.name,
                    description=one.description,
                    tags=dict(one.tags),
                    create_ms=one.create_time.ToMilliseconds(),
                    update_ms=one.update_time.ToMilliseconds(),
                    last_version=max((each.number for each in versions), default=0),
                    versions=tuple(kept),
                    aliases={alias: number for alias, number in one.aliases.items() if number in numbers},
                )

    def _versions(self, name: str) -> Iterator[registry_pb2.ModelVersion]:
        request = registry.ListModelVersionsRequest(model_name=name, page_size=1000)
        for page in self._connection.pages(lambda c: c.registry.ListModelVersions, request):
            yield from page.versions

    def _files_of(self, owner: str) -> Iterator[SourceFile]:
        if not self._files:
            return
        try:
            found = self._client.artifacts.list(owner)
        except errors.NotFound:
            return
        for one in found:
            yield SourceFile(one.path, one.size_bytes, self._opening(owner, one), one.sha256)

    def _opening(self, owner: str, file: Artifact) -> Callable[[], BinaryIO]:
        def opened() -> BinaryIO:
            with tempfile.TemporaryDirectory(prefix="headrace-") as folder:
                place = self._client.artifacts.download(owner, file.path, folder)
                kept: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
                with Path(place).open("rb") as came:
                    while part := came.read(1 << 20):
                        kept.write(part)
            kept.seek(0)
            return cast("BinaryIO", kept)

        return opened


def _input(message: tracking_pb2.DatasetInput) -> DatasetInput:
    """With all its tags as tags."""
    one = message.dataset
    dataset = Dataset(one.name, one.digest, one.source, one.schema, one.profile, one.source_type)
    return DatasetInput(dataset, "", dict(message.tags))


def _version(one: registry_pb2.ModelVersion) -> SourceVersion:
    return SourceVersion(
        number=one.version,
        description=one.description,
        user=one.user_id,
        tags=dict(one.tags),
        stage=one.stage,
        source=one.source,
        run_link=one.run_link,
        run_id=one.run_id,
        create_ms=one.create_time.ToMilliseconds(),
        update_ms=one.update_time.ToMilliseconds(),
        model_id=one.model_id,
    )
