"""Runs and experiments in memory."""

from array import array
from collections.abc import Iterator
from typing import Any

import grpc

from fake_answers import abort, away, not_found
from headrace.api.common.v1 import error_reason_pb2
from headrace.api.tracking.v1 import metrics_pb2, tracking_pb2
from headrace.api.tracking.v1 import tracking_service_pb2 as tracking_wire
from headrace_kit import errors


class FakeTracking:
    """Runs and experiments in dicts."""

    def __init__(self) -> None:
        self.experiments = {
            "0": tracking_pb2.Experiment(
                experiment_id="0", name="Default", lifecycle_stage=tracking_pb2.LIFECYCLE_STAGE_ACTIVE
            )
        }
        self.runs: dict[str, tracking_pb2.Run] = {}
        self.models: dict[str, tracking_pb2.LoggedModel] = {}
        self.at_least: list[metrics_pb2.Position] = []
        self.history: list[tuple[int, int, float]] = []
        self.break_once = False
        """Cut the next reading of the history off after its first block."""
        self.failures: list[errors.DomainError] = []
        """The next calls fail so."""
        self.fail_after = -1
        """So many calls are answered, then all fail; -1 for never."""
        self.refused_tags: set[str] = set()
        self.metadata: list[tuple[str, str]] = []

    def _begin(self, context: Any) -> None:
        self.metadata = [tuple(entry) for entry in context.invocation_metadata()]
        if self.failures:
            abort(context, self.failures.pop(0))
        if self.fail_after == 0:
            abort(context, away("gone half-way"))
        self.fail_after = max(-1, self.fail_after - 1)

    def CreateExperiment(self, request: Any, context: Any) -> Any:
        self._begin(context)
        experiment = tracking_pb2.Experiment(
            experiment_id=str(len(self.experiments)),
            name=request.name,
            tags=request.tags,
            lifecycle_stage=tracking_pb2.LIFECYCLE_STAGE_ACTIVE,
        )
        self.experiments[experiment.experiment_id] = experiment
        return tracking_wire.CreateExperimentResponse(experiment=experiment)

    def GetExperiment(self, request: Any, context: Any) -> Any:
        self._begin(context)
        for experiment in self.experiments.values():
            if request.name == experiment.name or request.experiment_id == experiment.experiment_id:
                return tracking_wire.GetExperimentResponse(experiment=experiment)
        abort(context, not_found(error_reason_pb2.ERROR_REASON_EXPERIMENT_NOT_FOUND, "no such experiment"))
        return None

    def SearchExperiments(self, request: Any, context: Any) -> Any:
        self._begin(context)
        return tracking_wire.SearchExperimentsResponse(experiments=self.experiments.values())

    def CreateRun(self, request: Any, context: Any) -> Any:
        self._begin(context)
        run = self.runs.setdefault(
            request.run_id,
            tracking_pb2.Run(
                run_id=request.run_id,
                experiment_id=request.experiment_id,
                name=request.name or "brave-otter-1",
                user_id=request.user_id,
                state=tracking_pb2.Run.STATE_RUNNING,
                start_time=request.start_time,
                tags=request.tags,
                params=request.params,
            ),
        )
        return tracking_wire.CreateRunResponse(run=run)

    def GetRun(self, request: Any, context: Any) -> Any:
        self._begin(context)
        self.at_least = list(request.at_least)
        return tracking_wire.GetRunResponse(run=self._run(request.run_id, context))

    def UpdateRun(self, request: Any, context: Any) -> Any:
        self._begin(context)
        run = self._run(request.run.run_id, context)
        request.update_mask.MergeMessage(request.run, run)
        return tracking_wire.UpdateRunResponse(run=run)

    def SearchRuns(self, request: Any, context: Any) -> Any:
        self._begin(context)
        found = [run for run in self.runs.values() if run.experiment_id in request.experiment_ids]
        start = int(request.page_token or 0)
        page = found[start : start + 2]  # small pages, so that there are several
        more = str(start + 2) if start + 2 < len(found) else ""
        return tracking_wire.SearchRunsResponse(runs=page, next_page_token=more)

    def LogParams(self, request: Any, context: Any) -> Any:
        self._begin(context)
        self._run(request.run_id, context).params.update(request.params)
        return tracking_wire.LogParamsResponse()

    def SetRunTags(self, request: Any, context: Any) -> Any:
        self._begin(context)
        if self.refused_tags & set(request.tags):
            abort(context, errors.InvalidField("tags", "must not be so"))
        self._run(request.run_id, context).tags.update(request.tags)
        return tracking_wire.SetRunTagsResponse()

    def LogInputs(self, request: Any, context: Any) -> Any:
        self._begin(context)
        kept = self._run(request.run_id, context).inputs
        kept.extend(each for each in request.inputs if each not in kept)
        return tracking_wire.LogInputsResponse()

    def ReadMetrics(self, request: Any, context: Any) -> Iterator[Any]:
        self._begin(context)
        for start in range(0, len(self.history), 3):
            if start == 3 and self.break_once:
                self.break_once = False
                context.abort(grpc.StatusCode.UNAVAILABLE, "cut off")
            steps, times, values = zip(*self.history[start : start + 3], strict=True)
            block = metrics_pb2.MetricBlock(
                run_id=request.run_ids[0],
                key=request.keys[0],
                steps=array("q", steps).tobytes(),
                time_ms=array("q", times).tobytes(),
                values=array("d", values).tobytes(),
            )
            yield tracking_wire.ReadMetricsResponse(block=block)

    def CreateLoggedModel(self, request: Any, context: Any) -> Any:
        self._begin(context)
        model = tracking_pb2.LoggedModel(
            model_id=request.model_id,
            name=request.name,
            run_id=request.run_id,
            experiment_id=request.experiment_id,
            model_type=request.model_type,
            state=tracking_pb2.LoggedModel.STATE_PENDING,
            params=request.params,
            tags=request.tags,
        )
        self.models[model.model_id] = model
        return tracking_wire.CreateLoggedModelResponse(model=model)

    def FinalizeLoggedModel(self, request: Any, context: Any) -> Any:
        self._begin(context)
        model = self.models[request.model_id]
        model.state, model.state_message = request.state, request.state_message
        return tracking_wire.FinalizeLoggedModelResponse(model=model)

    def _run(self, run_id: str, context: Any) -> tracking_pb2.Run:
        if run_id not in self.runs:
            abort(context, not_found(error_reason_pb2.ERROR_REASON_RUN_NOT_FOUND, f"no run {run_id}"))
        return self.runs[run_id]
