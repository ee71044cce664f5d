"""A run under way: what training code logs to."""

import io
import json
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, time, time_ns
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, Self, SupportsFloat, SupportsIndex, TypeVar

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from headrace import artifacts, capture, errors, logged_models, system
from headrace.api.tracking.v1 import tracking_pb2
from headrace.api.tracking.v1 import tracking_service_pb2 as wire
from headrace.artifacts import Artifacts
from headrace.connection import Connection
from headrace.ingest.columns import count, number, read, whole
from headrace.ingest.frames import key_problem
from headrace.ingest.producer import Producer
from headrace.ingest.sender import Sender
from headrace.ingest.settings import IngestSettings
from headrace.ingest.spool import directory, supported
from headrace.offline.artifacts import KeptArtifacts
from headrace.offline.journal import Journal
from headrace.records import Artifact, Dataset, LoggedModel, Run, timestamp

if TYPE_CHECKING:
    import grpc

    from headrace.models import Signature

log: Final = logging.getLogger("headrace")

Q = TypeVar("Q", bound=Message)

State = Literal["FINISHED", "FAILED", "KILLED"]
END_S: Final = 60.0
"""How long the end of a run waits for its points to be durable."""

_EXTEND_POINTS: Final = 10_000  # so many go into the queue before it is looked at again
_VISIBLE_S: Final = 30.0
_ENVIRONMENT_S: Final = 5.0


class ActiveRun:
    """A run that this program logs to; a context manager that ends it.

    Leaving the block ends it as FINISHED; by an exception as FAILED, by KeyboardInterrupt as KILLED, and the exception
    goes on. A run that nobody ended is ended when the program is over, as the program ended.

    Metrics are accepted without waiting, from any thread, and from forked children too; `flush` waits until they are
    durable. Everything else returns when the server has it. Methods raise HeadraceError, except `log`, `log_metric`,
    `log_series` and `log_columns`: what they cannot record is warned of through the logger "headrace", counted, and told when the run
    ends, unless the client was made with `IngestSettings(strict=True)`.
    """

    def __init__(
        self,
        run: Run,
        connection: Connection,
        sender: Sender,
        settings: IngestSettings,
        journal: Journal | None = None,
    ) -> None:
        self.id: Final = run.run_id
        self.name: Final = run.name
        self.experiment_id: Final = run.experiment_id
        self._connection = connection
        self._settings = settings
        self._journal = journal
        self._artifacts = Artifacts(connection) if journal is None else KeptArtifacts(connection, journal)
        self._producer = Producer(run.run_id, connection, sender, settings, self._leave, offline=self.offline)
        self._items = self._producer.queue.items
        self._add = self._items.extend  # bound once: a tenth of the cost of a dict of ten
        self._pid = os.getpid()
        self._ended = False
        self._monitor: system.Monitor | None = None
        self._background: list[threading.Thread] = []
        sender.add(self._producer)  # so that the run is ended with the program even when nothing is logged

    @property
    def offline(self) -> bool:
        """Whether the run is kept in the spool folder, for `headrace sync` to send."""
        return self._journal is not None

    # --- metrics ---

    def log(self, metrics: Mapping[str, SupportsFloat], step: SupportsIndex | None = None) -> None:
        """Records a point in each series named, at this step (0 where none is given) and now.

        Costs about a microsecond. Waits only when the buffer is full, as `IngestSettings.overflow` says. NaN and
        infinities are values like others; an array or tensor of one item is read before this returns.
        """
        # A microsecond is some fifteen of these steps: what can be done by the sender is done there.
        if type(step) is not int:
            try:
                step = whole(step)
            except ValueError as error:
                self._producer.lose(str(error), len(metrics))
                metrics = {}
        now = time()
        add = self._add
        for key in metrics:
            value = metrics[key]
            if type(value) is not float:
                try:
                    value = number(value)
                except Exception as error:  # noqa: BLE001 - whatever a value's own __float__ raises
                    self._producer.lose(f"{key!s:.80}: {value!r:.80} is no number ({error!s:.200})")
                    continue
            add((key, value, step, now))
        if len(self._items) > self._producer.mark:
            self._producer.crowded()

    def log_metric(
        self,
        key: str,
        value: SupportsFloat,
        step: SupportsIndex | None = None,
        time: datetime | float | None = None,
    ) -> None:
        """Records one point, as `log` does; `time` is a datetime or seconds since 1970, and now where none is given."""
        if time is None:
            self.log({key: value}, step)
        else:
            self.log_series(key, [value], [0 if step is None else step], [time])

    def log_series(
        self,
        key: str,
        values: Iterable[SupportsFloat],
        steps: Iterable[SupportsIndex] | None = None,
        times: Iterable[datetime | float] | None = None,
    ) -> None:
        """Records many points of one series, at 0.1 to 0.2 microseconds each.

        Lists or one-dimensional arrays, of the same length. Without `steps` they count from 0; without `times` all are
        now. Where one item is not acceptable, or the lengths differ, none of the points is recorded.
        """
        self._log_columns(steps, {key: values}, times)

    def log_columns(
        self,
        steps: Iterable[SupportsIndex] | None,
        columns: Mapping[str, Iterable[SupportsFloat]],
        times: Iterable[datetime | float] | None = None,
    ) -> None:
        """Records many points of several series that share their steps, at 0.1 to 0.2 microseconds each.

        Such as `log_columns(range(1000), {"loss": losses, "accuracy": accuracies})`, with lists or one-dimensional
        arrays, all of the same length, which may be changed afterwards. Without `steps` they count from 0; without
        `times` all are now. Where one item or key is not acceptable, or the lengths differ, no point is recorded.
        Points of a series stay in the order of the calls, those of `log` among them.
        """
        self._log_columns(steps, columns, times)

    def _log_columns(self, steps: Any, columns: Mapping[str, Any], times: Any) -> None:
        producer = self._producer
        try:
            blocks = read(steps, columns, times, time_ns() // 1_000_000)
            if problem := next(filter(None, map(key_problem, columns)), ""):
                raise ValueError(problem)  # noqa: TRY301 - told as what else is not acceptable
        except Exception as error:  # noqa: BLE001 - whatever an array's own conversion raises
            producer.lose(f"{error!s:.300}", sum(map(count, columns.values())))
            producer.crowded()
            return
        rows = max(1, _EXTEND_POINTS // max(1, len(blocks)))
        for start in range(0, max(map(len, blocks), default=0), rows):
            for block in blocks:
                producer.put(block.cut(start, start + rows))

    @property
    def lost_points(self) -> int:
        """How many points this process could not record so far."""
        return self._producer.losses.points

    def flush(self, *, visible: bool = False, timeout: float = END_S) -> None:
        """Waits until every point logged before is durable, or even visible: a query returns it then.

        Raises TimedOut after `timeout` seconds; or the error for which the server takes no points of this run.
        Of an offline run, it waits until they are in the spool file; `visible` raises Unavailable.
        """
        if visible and self.offline:
            raise errors.Unavailable(f"run {self.id} is offline: its points are visible after `headrace sync`")
        until = monotonic() + timeout
        positions = self._producer.flush(timeout)
        if visible:
            left = max(0.001, until - monotonic())
            request = wire.GetRunRequest(run_id=self.id, at_least=positions)
            self._connection.call(lambda c: c.tracking.GetRun, request, timeout_s=left)

    # --- params, tags, inputs ---

    def log_params(self, params: Mapping[str, object]) -> None:
        """Records params as text, all or none. The same value again is fine, another raises InvalidRequest."""
        request = wire.LogParamsRequest(run_id=self.id, params=_texts(params))
        self._say(lambda c: c.tracking.LogParams, request)

    def log_param(self, key: str, value: object) -> None:
        """Records one param."""
        self.log_params({key: value})

    def set_tags(self, tags: Mapping[str, object]) -> None:
        """Adds tags or changes them."""
        request = wire.SetRunTagsRequest(run_id=self.id, tags=_texts(tags))
        self._say(lambda c: c.tracking.SetRunTags, request)

    def set_tag(self, key: str, value: object) -> None:
        """Adds a tag or changes it."""
        self.set_tags({key: value})

    def log_input(self, dataset: Dataset, context: str = "", tags: Mapping[str, object] | None = None) -> None:
        """Records that the run uses a dataset; `context` says what for: "training", "validation", ..."""
        about = _texts(tags or {})
        if context:
            about["mlflow.data.context"] = context
        message = tracking_pb2.DatasetInput(
            dataset=tracking_pb2.Dataset(
                name=dataset.name,
                digest=dataset.digest,
                source_type=dataset.source_type,
                source=dataset.source,
                schema=dataset.schema,
                profile=dataset.profile,
            ),
            tags=about,
        )
        request = wire.LogInputsRequest(run_id=self.id, inputs=[message])
        self._say(lambda c: c.tracking.LogInputs, request)

    # --- files and models ---

    def log_artifact(self, path: str | os.PathLike[str], folder: str = "") -> Artifact:
        """Stores a file under its own name in a folder of the run."""
        return self._artifacts.upload(self.id, path, artifacts.join(folder, Path(path).name))

    def log_artifacts(self, directory: str | os.PathLike[str], folder: str = "") -> tuple[Artifact, ...]:
        """Stores every file below a directory, each at its place in it."""
        return self._artifacts.upload_folder(self.id, directory, folder)

    def log_text(self, text: str, path: str) -> Artifact:
        """Stores text as a file, in UTF-8."""
        return self._artifacts.upload_bytes(self.id, text.encode(), path)

    def log_dict(self, content: Mapping[str, Any] | list[Any], path: str) -> Artifact:
        """Stores a mapping or a list as a JSON file; what JSON does not know is stored as its text."""
        return self.log_text(json.dumps(content, indent=2, default=str), path)

    def log_figure(self, figure: Any, path: str) -> Artifact:
        """Stores a picture: a figure of matplotlib's, an image of Pillow's, or a figure of plotly's.

        The ending of `path` says the format, such as "plots/roc.png"; plotly's also knows ".html".
        Raises TypeError for anything else.
        """
        return self._artifacts.upload_bytes(self.id, _rendered(figure, Path(path).suffix), path)

    def log_model(
        self,
        model: Any,
        name: str = "model",
        *,
        signature: "Signature | None" = None,
        input_example: Any = None,
        params: Mapping[str, object] | None = None,
        tags: Mapping[str, object] | None = None,
    ) -> LoggedModel:
        """Saves a model and stores its files; returns when it can be registered.

        `model` is a fitted scikit-learn estimator, any function of a frame, a Python file that defines
        `predict(frame)`, or a folder in MLflow's layout that is stored as it is. Without a signature, it is inferred
        from the example. Needs `headrace[models]`, except for a folder. Raises TypeError for another kind of model,
        Unavailable for an offline run: `hr.models.save` and `log_artifacts` keep its files.
        """
        if self.offline:
            raise errors.Unavailable(
                f"run {self.id} is offline, and a logged model needs the server: keep the files with log_artifacts"
            )
        what = logged_models.What(name, self.id, self.experiment_id, _texts(params or {}), _texts(tags or {}))
        return logged_models.log_model(self._connection, model, what, signature, input_example)

    # --- the end ---

    def end(self, state: State = "FINISHED", *, timeout: float = END_S) -> None:
        """Makes durable what was logged, then ends the run in this state; ending it again changes nothing.

        Points that are not acknowledged within `timeout` seconds are left in the spool, for `headrace sync`, and warned of;
        so is the end itself where the server is away. What the spool cannot take is counted as lost. With `strict`,
        this raises. Of an offline run, all is left to `headrace sync`.
        """
        if self._ended:
            return
        ended_at = timestamp(datetime.now(UTC))
        if self._monitor is not None:
            self._monitor.stop()
        failure = self._close(timeout)
        for thread in self._background:
            thread.join(_ENVIRONMENT_S)
        run = tracking_pb2.Run(run_id=self.id, state=f"STATE_{state}", end_time=ended_at)
        request = wire.UpdateRunRequest(run=run, update_mask=FieldMask(paths=["state", "end_time"]))
        try:
            self._say(lambda c: c.tracking.UpdateRun, request)
        except (errors.Unavailable, errors.TimedOut) as error:
            self._journal = self._kept_end(request, error)
            failure = failure or error
        self._ended = True
        if self._journal is not None and (place := self._journal.close()) is not None:
            log.warning("run %s: `headrace sync` sends it from %s", self.id, place.parent)
        if failure is not None and self._settings.strict:
            raise failure

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if os.getpid() != self._pid:  # a forked child leaves the block: the run goes on in its parent
            self._close(END_S)
            return
        try:
            self.end(state_after(error))
        except errors.HeadraceError as failure:
            if self._settings.strict and error is None:
                raise
            log.error("run %s could not be ended: %s", self.id, failure)  # noqa: TRY400 - the trace tells nothing more

    def __repr__(self) -> str:
        return f"ActiveRun(id={self.id!r}, name={self.name!r}, experiment_id={self.experiment_id!r})"

    def in_background(self, work: Callable[[], object]) -> None:
        """Does some work for the run beside it; the end of the run waits for it, 5 s at most. A failure is logged."""

        def guarded() -> None:
            try:
                work()
            except Exception as error:  # noqa: BLE001 - nothing that happens beside the run may stop it
                log.warning("run %s: %s", self.id, error)

        thread = threading.Thread(target=guarded, name="headrace-background", daemon=True)
        self._background.append(thread)
        thread.start()

    def watch_system(self, probes: Sequence[system.Probe]) -> None:
        """Logs metrics of the machine every `IngestSettings.system_metrics_s`, until the run ends; asked for once only."""
        if self._monitor is None:
            self._monitor = system.Monitor(self.log, probes, self._settings.system_metrics_s)
            self._monitor.start()

    def log_environment(self) -> None:
        """Stores the list of installed distributions, as `environment/requirements.txt`."""
        self.log_text(capture.requirements(), capture.REQUIREMENTS_PATH)

    def _say(self, method: "Callable[[Connection], grpc.UnaryUnaryMultiCallable[Q, Any]]", request: Q) -> None:
        """Writes something about the run: to the server, or into the journal of an offline run."""
        if self._journal is None:
            self._connection.call(method, request)
        else:
            self._journal.add(request)

    def _kept_end(self, request: wire.UpdateRunRequest, error: errors.HeadraceError) -> Journal:
        """A journal that holds the end alone. Raises the error where there can be none."""
        settings = self._settings
        if not settings.spool_bytes or not supported():
            raise error
        folder = directory(settings.spool_dir)
        journal = Journal(folder, self.id, self._connection, settings.spool_bytes, whole=False)
        journal.add(request)
        return journal

    def _close(self, timeout_s: float) -> errors.HeadraceError | None:
        """Ends the metrics; what went wrong has been warned of."""
        try:
            self._producer.close(timeout_s)
        except errors.HeadraceError as error:
            return error
        return None

    def _leave(self, timeout_s: float) -> None:
        """The program is over."""
        if os.getpid() != self._pid:
            self._close(timeout_s)
            return
        last: BaseException | None = getattr(sys, "last_value", None)
        self.end(state_after(last), timeout=timeout_s)


def state_after(error: BaseException | None) -> State:
    """How a run ends whose program left it by this exception."""
    if isinstance(error, KeyboardInterrupt):
        return "KILLED"
    if error is None or (isinstance(error, SystemExit) and error.code in {None, 0}):
        return "FINISHED"
    return "FAILED"


def _texts(values: Mapping[str, object]) -> dict[str, str]:
    return {key: str(value) for key, value in values.items()}


def _rendered(figure: Any, ending: str) -> bytes:
    buffer = io.BytesIO()
    kind = ending.removeprefix(".") or "png"
    if hasattr(figure, "savefig"):
        figure.savefig(buffer, format=kind)
        return buffer.getvalue()
    if hasattr(figure, "to_html") and hasattr(figure, "to_image"):
        return figure.to_html().encode() if kind == "html" else bytes(figure.to_image(format=kind))
    if hasattr(figure, "save") and hasattr(figure, "getbands"):
        figure.save(buffer, format="JPEG" if kind == "jpg" else kind.upper())
        return buffer.getvalue()
    raise TypeError(
        f"cannot draw a {type(figure).__name__}: give a figure of matplotlib's or plotly's, or a Pillow image"
    )
