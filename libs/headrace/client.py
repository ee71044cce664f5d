"""A client of one Headrace: what the functions of `headrace` do, on an address of its own."""

import logging
import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

from google.protobuf.field_mask_pb2 import FieldMask

from headrace import capture, charts, errors, exports, purging, retry, system, watching
from headrace.api.tracking.v1 import tracking_pb2
from headrace.api.tracking.v1 import tracking_service_pb2 as wire
from headrace.artifacts import Artifacts
from headrace.charts import MetricChart
from headrace.connection import Connection
from headrace.default import of_default
from headrace.deployments import Deployments
from headrace.events import Events
from headrace.ingest.producer import Producer
from headrace.ingest.sender import Sender
from headrace.ingest.settings import IngestSettings
from headrace.offline.choice import Offline, chosen
from headrace.offline.start import offline_run
from headrace.purging import Purged
from headrace.records import Experiment, MetricHistory, MetricUpdate, Run, timestamp
from headrace.registry import Registry
from headrace.runs import ActiveRun
from headrace.tables import RunTable
from headrace.tokens import Tokens
from headrace.webhooks import Webhooks
from headrace.workspaces import Workspaces

log: Final = logging.getLogger("headrace")

DEFAULT_EXPERIMENT: Final = "0"
_PAGE: Final = 1_000


class Client:
    """One Headrace, as one tenant, in one of its workspaces. Making a client does no I/O; threads may share it; it works on in forked children.

    `uri`, `token`, `workspace` and the environment are explained at `connect`. `ingest` sets the limits of the metric path, `policy`
    the patience with a server that is away.
    """

    def __init__(
        self,
        uri: str = "",
        token: str = "",
        workspace: str = "",
        *,
        ingest: IngestSettings | None = None,
        policy: retry.Policy = retry.DEFAULT,
    ) -> None:
        self.connection = Connection(uri, token, workspace, policy=policy)
        self.artifacts: Artifacts = Artifacts(self.connection)
        self.registry: Registry = Registry(self.connection)
        self.deployments: Deployments = Deployments(self.connection)
        self.events: Events = Events(self.connection)
        self.tokens: Tokens = Tokens(self.connection)
        self.workspaces: Workspaces = Workspaces(self.connection)
        self.webhooks: Webhooks = Webhooks(self.connection)
        self._settings = ingest or IngestSettings()
        self._sender = Sender(self._settings)
        self._experiment_id = ""
        self._experiment_name = ""  # while its id is not known

    def set_experiment(self, name: str) -> Experiment:
        """Makes the experiment where it is new; runs of this client go into it from now on. Raises WrongState for a deleted one.

        With HEADRACE_OFFLINE, the name is kept until a run needs it, and the experiment answered has no id.
        """
        how = chosen(None)
        self._experiment_id, self._experiment_name = "", name
        try:
            found = self.get_or_create_experiment(name) if how != "yes" else None
        except errors.Unavailable:
            if how == "no":
                raise
            found = None
        if found is None:
            return Experiment("", name, deleted=False, tags={}, create_time=None, update_time=None)
        self._experiment_id, self._experiment_name = found.id, ""
        return found

    def get_or_create_experiment(self, name: str, tags: Mapping[str, str] | None = None) -> Experiment:
        """The experiment of this name; one that is made now gets the tags. Raises WrongState for a deleted one."""
        try:
            found = self.get_experiment(name)
        except errors.NotFound:
            request = wire.CreateExperimentRequest(name=name, tags=tags, request_id=str(uuid.uuid4()))
            try:
                created = self.connection.call(lambda c: c.tracking.CreateExperiment, request)
                return Experiment.of(created.experiment)
            except errors.AlreadyExists:  # by another program, just now
                found = self.get_experiment(name)
        if found.deleted:
            raise errors.WrongState(f"experiment {name!r} is deleted: restore it, or choose another name")
        return found

    def get_experiment(self, name_or_id: str) -> Experiment:
        """The experiment of this name or, where none has it, of this id. Raises NotFound."""
        by_name = wire.GetExperimentRequest(name=name_or_id)
        try:
            return Experiment.of(self.connection.call(lambda c: c.tracking.GetExperiment, by_name).experiment)
        except errors.NotFound:
            if not (name_or_id.isascii() and name_or_id.isdecimal()):
                raise
        by_id = wire.GetExperimentRequest(experiment_id=name_or_id)
        return Experiment.of(self.connection.call(lambda c: c.tracking.GetExperiment, by_id).experiment)

    def search_experiments(
        self,
        filter: str = "",  # noqa: A002 - the word of the API
        order_by: Sequence[str] = (),
        limit: int = 1_000,
    ) -> tuple[Experiment, ...]:
        """Active experiments that match a filter, newest first unless ordered otherwise."""
        _check_limit(limit)
        request = wire.SearchExperimentsRequest(filter=filter, order_by=order_by, page_size=min(limit, _PAGE))
        pages = self.connection.pages(lambda c: c.tracking.SearchExperiments, request)
        found = (each for page in pages for each in page.experiments)
        return tuple(Experiment.of(each) for each in islice(found, limit))

    def start_run(
        self,
        name: str | None = None,
        *,
        experiment: str | None = None,
        tags: Mapping[str, object] | None = None,
        params: Mapping[str, object] | None = None,
        run_id: str | None = None,
        description: str | None = None,
        capture: bool = True,
        offline: bool | Literal["auto"] | None = None,
        system_metrics: bool | None = None,
    ) -> ActiveRun:
        """Starts a run, or goes on with the one of `run_id`; use it as a context manager, which ends it.

        `experiment` is made where it is new; without it, the run goes where `set_experiment` said, or into Default.
        Without a name the server chooses one. `capture` records git commit, entry point, user, host, Python and, beside
        the run, the list of installed distributions. Returns when the server has the run. Raises Unavailable when it
        cannot be reached within 2 s, NotFound for an unknown `run_id`.

        `offline=True` asks no server: the run is kept in the spool folder, whatever becomes of this process, until
        `headrace sync` sends it; "auto" does so where no server answers. Where it is not said, HEADRACE_OFFLINE
        says it: 1, 0 or auto, and without it no run is offline.

        `system_metrics` logs CPU, memory, disk, network and NVIDIA GPUs of this machine as "system/...", every
        `IngestSettings.system_metrics_s`; where it is not said, HEADRACE_SYSTEM_METRICS=1 says it. Needs
        `headrace[system]`, else raises ModuleNotFoundError.
        """
        how = chosen(offline)
        probes = system.probes() if system.wanted(system_metrics) else ()
        about = {key: str(value) for key, value in (tags or {}).items()}
        if description is not None:
            about["mlflow.note.content"] = description
        texts = {key: str(value) for key, value in (params or {}).items()}
        begin = self._beginning(name or "", about, texts, captured=capture) if run_id is None else _resume(run_id, name)
        active = self._begin(begin, experiment or self._experiment_name, how)
        if run_id is not None:
            if about:
                active.set_tags(about)
            if texts:
                active.log_params(texts)
        elif capture:
            active.in_background(active.log_environment)
        if probes:
            active.watch_system(probes)
        return active

    def get_run(self, run_id: str) -> Run:
        """A run with params, tags, inputs and latest metrics; deleted ones too. Raises NotFound."""
        return Run.of(self.connection.call(lambda c: c.tracking.GetRun, wire.GetRunRequest(run_id=run_id)).run)

    def search_runs(
        self,
        experiments: str | Sequence[str] | None = None,
        filter: str = "",  # noqa: A002 - the word of the API
        order_by: str | Sequence[str] = (),
        limit: int = 1_000,
    ) -> RunTable:
        """Active runs that match a filter, newest first unless ordered otherwise; at most `limit`.

        `experiments` are names or ids; without them the one of `set_experiment`, or Default. A filter is such as
        "metrics.accuracy >= 0.9 AND params.model = 'tree' AND attributes.status = 'FINISHED'", an order such as
        "metrics.accuracy DESC". Raises InvalidRequest for a filter that cannot be understood, with where in it.
        """
        _check_limit(limit)
        names = [experiments] if isinstance(experiments, str) else experiments
        ids = (
            [self._experiment_id or DEFAULT_EXPERIMENT] if names is None else [self.get_experiment(n).id for n in names]
        )
        request = wire.SearchRunsRequest(
            experiment_ids=ids,
            filter=filter,
            order_by=[order_by] if isinstance(order_by, str) else order_by,
            page_size=min(limit, _PAGE),
        )
        pages = self.connection.pages(lambda c: c.tracking.SearchRuns, request)
        return RunTable([Run.of(each) for each in islice((run for page in pages for run in page.runs), limit)])

    def metric_history(
        self,
        run_id: str,
        key: str,
        *,
        start_step: int | None = None,
        end_step: int | None = None,
        start_time: datetime | float | None = None,
        end_time: datetime | float | None = None,
    ) -> MetricHistory:
        """The points of one series that are visible; none for a key that was never logged. Raises NotFound for the run.

        All of them, or those with start <= step < end, and with start <= time < end: datetimes or seconds since 1970.
        """
        if start_step is end_step is start_time is end_time is None:
            return self.metric_histories([run_id], [key]).get((run_id, key)) or MetricHistory(key)
        history = MetricHistory(key)
        request = wire.GetMetricHistoryRequest(
            run_id=run_id,
            key=key,
            page_size=100_000,
            start_step=None if start_step is None else charts.step("start_step", start_step),
            end_step=None if end_step is None else charts.step("end_step", end_step),
            start_time_ms=None if start_time is None else charts.time_ms("start_time", start_time),
            end_time_ms=None if end_time is None else charts.time_ms("end_time", end_time),
        )
        for page in self.connection.pages(lambda c: c.tracking.GetMetricHistory, request):
            history.steps.extend(page.steps)
            history.times_ms.extend(page.time_ms)
            history.values.extend(page.values)
        return history

    def metric_histories(
        self, run_ids: Sequence[str], keys: Sequence[str] = ()
    ) -> Mapping[tuple[str, str], MetricHistory]:
        """All visible points of many series in one call, by (run id, key).

        Of at most 100 runs and 1,000 keys; without keys, of all that the runs have. A series without points is absent.
        Raises NotFound when one of the runs is not there.
        """
        return watching.read(self.connection, run_ids, keys)

    def watch_metrics(self, run_ids: Sequence[str], keys: Sequence[str] = ()) -> Iterator[MetricUpdate]:
        """All visible points of these series, then new ones within a few tenths of a second, for as long as you iterate.

        Of at most 100 runs and 1,000 keys; without keys, of all that the runs have or come to have. `update.apply(history)`
        keeps a history as the series is. After a broken connection all points come again, at offset 0. Raises NotFound
        when one of the runs is not there, Unavailable when the server is away for longer than the client has patience.
        """
        return watching.metrics(self.connection, run_ids, keys)

    def watch_run(self, run_id: str, *, until_end: bool = True) -> Iterator[Run]:
        """The run as it is, then again whenever it changed: state, params, tags, inputs, latest metrics.

        Ends when the run has; without `until_end` it goes on. Raises NotFound, and Unavailable as `watch_metrics`.
        """
        return watching.run(self.connection, run_id, until_end=until_end)

    def metric_charts(
        self,
        run_ids: Sequence[str],
        keys: Sequence[str],
        pixels: int = 2_000,
        axis: charts.Axis = "step",
        start: float | datetime | None = None,
        end: float | datetime | None = None,
    ) -> tuple[MetricChart, ...]:
        """A chart of every one of these series that has points with start <= step < end, by run and key.

        Each in buckets whose width is the least power of two that makes at most twice as many as pixels (1 to 10,000)
        of what start and end leave of the series: minimum, maximum, first, last and count are exact in each. With the
        axis "time", start and end are datetimes or seconds since 1970, and buckets are milliseconds wide. Raises
        NotFound for a run.
        """
        return charts.read_charts(self.connection, run_ids, keys, pixels, axis, (start, end))

    def export_metrics(self, run_id: str, file: str | os.PathLike[str]) -> Path:
        """Writes all visible points of a run into a Parquet file, for DuckDB, Polars, Spark and the like.

        Columns are key, step, time (milliseconds, UTC) and value; each series is ordered by (time, step, value). The file
        appears only whole. Raises NotFound for the run, DataLost, OSError.
        """
        return exports.export_metrics(self.connection, run_id, file)

    def purge(
        self,
        older_than: timedelta,
        *,
        runs: Sequence[str] = (),
        experiments: Sequence[str] = (),
        dry_run: bool = False,
    ) -> Iterator[Purged]:
        """Removes for good what has been in the bin for so long; iterate it, as it works a hundred runs at a time.

        Only these runs, or only what is in these experiments (names or ids), at most 100 of each. With `dry_run` it only
        says what would go. For admins: raises PermissionDenied for others, NotFound, and WrongState for a run that is
        named and not deleted.
        """
        ids = [self.get_experiment(each).id for each in experiments]
        return purging.purge(self.connection, older_than, runs, ids, dry_run=dry_run)

    def producer(self, run_id: str, on_leave: Callable[[float], None]) -> Producer:
        """The metric path of a run that others begin and end; `on_leave(timeout_s)` is called when the program is over."""
        return Producer(run_id, self.connection, self._sender, self._settings, on_leave)

    def close(self) -> None:
        """Closes the connections. Runs under way are to be ended before."""
        self.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _beginning(
        self, name: str, tags: Mapping[str, str], params: Mapping[str, str], *, captured: bool
    ) -> wire.CreateRunRequest:
        found = capture.run_tags() if captured else {}
        return wire.CreateRunRequest(
            experiment_id=self._experiment_id or DEFAULT_EXPERIMENT,
            name=name,
            user_id=capture.user(),
            start_time=timestamp(datetime.now(UTC)),
            tags={**found, **tags},
            params=params,
            run_id=uuid.uuid4().hex,  # the client's choice, so that it may be sent again
        )

    def _begin(self, begin: wire.CreateRunRequest | wire.UpdateRunRequest, experiment: str, how: Offline) -> ActiveRun:
        if how != "yes":
            try:
                run = self._begin_online(begin, experiment)
                return ActiveRun(run, self.connection, self._sender, self._settings)
            except errors.Unavailable as error:
                if how == "no":
                    raise
                log.warning("%s: the run is offline; `headrace sync` sends it later", error)
        return offline_run(begin, experiment, self.connection, self._sender, self._settings)

    def _begin_online(self, begin: wire.CreateRunRequest | wire.UpdateRunRequest, experiment: str) -> Run:
        if isinstance(begin, wire.UpdateRunRequest):
            return Run.of(self.connection.call(lambda c: c.tracking.UpdateRun, begin).run)
        if experiment:
            begin.experiment_id = self.get_or_create_experiment(experiment).id
        return Run.of(self.connection.call(lambda c: c.tracking.CreateRun, begin).run)


def _resume(run_id: str, name: str | None) -> wire.UpdateRunRequest:
    run = tracking_pb2.Run(run_id=run_id, state=tracking_pb2.Run.STATE_RUNNING, name=name or "")
    mask = FieldMask(paths=["state", "name"] if name else ["state"])
    return wire.UpdateRunRequest(run=run, update_mask=mask)


def _check_limit(limit: int) -> None:
    if limit < 1:
        raise errors.InvalidRequest(f"limit: must be 1 or more, got {limit}")


def _itself(client: Client) -> Client:
    return client


set_experiment = of_default(Client.set_experiment, _itself)
get_experiment = of_default(Client.get_experiment, _itself)
search_experiments = of_default(Client.search_experiments, _itself)
start_run = of_default(Client.start_run, _itself)
get_run = of_default(Client.get_run, _itself)
search_runs = of_default(Client.search_runs, _itself)
metric_charts = of_default(Client.metric_charts, _itself)
metric_history = of_default(Client.metric_history, _itself)
metric_histories = of_default(Client.metric_histories, _itself)
watch_metrics = of_default(Client.watch_metrics, _itself)
watch_run = of_default(Client.watch_run, _itself)
export_metrics = of_default(Client.export_metrics, _itself)
