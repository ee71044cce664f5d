"""The Headrace that an import goes to: each thing is put as its source has it; to put it again changes nothing.

A run or a logged model that is new here is open while its points and files come, and ends, as it ended, when they are in;
so whoever waits for its end finds it whole. What is killed in between leaves it open, and the next attempt goes on.
"""

import hashlib
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from typing import Final, TypeVar

from headrace import errors
from headrace.api.registry.v1 import registry_pb2
from headrace.api.registry.v1 import registry_service_pb2 as registry
from headrace.api.tracking.v1 import tracking_pb2
from headrace.api.tracking.v1 import tracking_service_pb2 as wire
from headrace.client import Client
from headrace.imports import checksum, wires
from headrace.imports.checksum import Total, Totals
from headrace.imports.parallel import spread
from headrace.imports.points import Points, each_once, lacking
from headrace.imports.report import Report
from headrace.imports.seen import Seen
from headrace.imports.sending import Sending
from headrace.imports.source import SourceExperiment, SourceFile, SourceModel, SourceRegisteredModel, SourceRun
from headrace.ingest.columns import FAR
from headrace.ingest.frames import key_problem
from headrace.records import Artifact

_DELETED: Final = tracking_pb2.LIFECYCLE_STAGE_DELETED
_PART_BYTES: Final = 1 << 20
B = TypeVar("B", tracking_pb2.Run, tracking_pb2.LoggedModel)


class Target:
    """Puts things, and says in the report what the source has. For any number of threads; put experiments before their runs,
    runs before their logged models, and these before registered models. `finish` comes last.
    """

    def __init__(self, client: Client, report: Report, seen: Seen | None = None) -> None:
        self.client = client
        self.seen: Final = seen or Seen()
        self.report = report
        self.sending: Final = Sending(client)
        self._connection = client.connection
        self._experiments: dict[str, str] = {}
        self._lock = threading.Lock()
        self._afterwards: list[Callable[[], None]] = []
        self._bins: dict[str, SourceExperiment] = {}
        self._readers: dict[str, Callable[[], Totals]] = {}
        self._skipped: dict[str, Callable[[], None]] = {}
        self._aliases: dict[str, set[str]] = {}
        self._digests: dict[tuple[str, str], tuple[int, str, str]] = {}

    def put_experiment(self, source: SourceExperiment) -> str:
        """Its id here. One that is in the source's bin goes there with `finish`."""
        deleted = source.deleted and self._is_deleted(source.name)
        answer = self._import_experiment(source, deleted=deleted)
        with self._lock:
            self._experiments[source.name] = answer.experiment_id
            if source.deleted:
                self._bins[source.name] = source
        wanted = wires.experiment(source, deleted=source.deleted)
        wanted.experiment_id = answer.experiment_id
        if not wanted.HasField("create_time"):
            wanted.create_time.CopyFrom(answer.create_time)
        self._has(f"experiment {source.name!r}", checksum.of_experiment(wanted), lambda: self._experiment(source.name))
        if answer.experiment_id != source.wished_id and source.request_id:
            self.report.note(
                f"experiment {source.name!r} has the id {answer.experiment_id} here; {source.wished_id} was taken"
            )
        return answer.experiment_id

    def experiment_id(self, name: str) -> str:
        """Of an experiment that was put, or else of one with this name, which is made where there is none."""
        with self._lock:
            if name not in self._experiments:
                self._experiments[name] = self.client.get_or_create_experiment(name).id
            return self._experiments[name]

    def put_run(self, source: SourceRun) -> None:
        """A run with its points and files. Raises HeadraceError where it is refused.

        Of one that has ended and was seen as it is now, these are not read again.
        """
        final = wires.run(source, self.experiment_id(source.experiment))
        thing = f"run {source.run_id}"
        totals = self.seen.totals(thing, source.mark)
        if source.state in {"RUNNING", "SCHEDULED"} or totals is None:
            _Run(self, source, final).put()
        else:
            self.has_run(source.run_id, {**totals, **checksum.of_run(final)})
            self._skipped[thing] = lambda: _Run(self, source, final).put()

    def put_model(self, source: SourceModel) -> None:
        """A logged model with its files. Of one that was seen as it is now, the files are not read again."""
        final = wires.model(source, self.experiment_id(source.experiment))
        thing = f"logged model {source.model_id}"
        if source.state != "PENDING" and (totals := self.seen.totals(thing, source.mark)) is not None:
            self._has(
                thing, {**checksum.of_model(final), "files": totals.get("files", Total())}, self._model_of(source)
            )
            self._skipped[thing] = lambda: self._put_model(thing, source, final)
        else:
            self._put_model(thing, source, final)

    def _put_model(self, thing: str, source: SourceModel, final: tracking_pb2.LoggedModel) -> None:
        known = self.model(source.model_id)
        totals = checksum.of_model(final)
        ready = known is not None and known.lifecycle_stage != _DELETED

        def begin() -> None:
            nonlocal ready
            if not ready:
                begun = wires.announced(final) if known is None else _active(final)
                self._say_model(begun)
                ready = True

        files = self.put_files(source.model_id, source.files(), known is not None, begin, source.state == "PENDING")
        self._has(thing, {**totals, "files": files}, self._model_of(source))
        self.seen.add(thing, source.mark, {**totals, "files": files})
        if source.deleted and not (known is not None and known.lifecycle_stage == _DELETED and not ready):
            self._say_model(_active(final))
            self.later(lambda: self._say_model(final))
        else:
            self._say_model(final)

    def put_registered(self, source: SourceRegisteredModel) -> None:
        """A registered model with its versions, and its aliases last: they are promotions, and bring deployments."""
        message = wires.registered(source)
        request = registry.ImportModelRequest(model=message, last_version=source.last_version)
        self._changed(self._connection.call(lambda c: c.registry.ImportModel, request).changed)
        self._has(
            f"model {source.name!r}",
            checksum.of_registered(message),
            lambda: self._registered_totals(source.name, source.aliases),
        )
        for one in source.versions:
            if one.made_of is not None:
                self.put_model(one.made_of)
            version = wires.version(source.name, one)
            thing = f"version {one.number} of model {source.name!r}"
            self._has(thing, checksum.of_version(version), partial(self._version_totals, source.name, one.number))
            try:
                self._put_version(version)
            except (errors.InvalidRequest, errors.WrongState, errors.NotFound) as error:
                self.report.fail(thing, error)
        for alias in self._aliases.get(source.name, set()) - source.aliases.keys():
            self._delete_alias(source.name, alias)
        self._aliases[source.name] = set(source.aliases)
        for alias, number in source.aliases.items():
            promote = registry.PromoteModelVersionRequest(model_name=source.name, version=number, alias=alias)
            try:
                answer = self._connection.call(lambda c: c.registry.PromoteModelVersion, promote)
                self._changed(answer.previous_version != number)
            except (errors.InvalidRequest, errors.NotFound) as error:
                self.report.fail(f"alias {alias!r} of model {source.name!r}", error)

    def _delete_alias(self, name: str, alias: str) -> None:
        """One that went since the last round."""
        request = registry.DeleteModelAliasRequest(model_name=name, alias=alias)
        try:
            self._connection.call(lambda c: c.registry.DeleteModelAlias, request, again=False)
        except errors.NotFound:
            return
        self.report.add(changed=1)

    def _put_version(self, version: registry_pb2.ModelVersion) -> None:
        request = registry.ImportModelVersionRequest(version=version)
        self._changed(self._connection.call(lambda c: c.registry.ImportModelVersion, request).changed)

    def finish(self) -> None:
        """Moves to the bin what is in the source's; experiments last."""
        for step in self._afterwards:
            step()
        self._afterwards.clear()
        for source in self._bins.values():
            self._import_experiment(source, deleted=True)

    def later(self, step: Callable[[], None]) -> None:
        """Does this when all else is there."""
        with self._lock:
            self._afterwards.append(step)

    def put_files(
        self, owner: str, files: Iterator[SourceFile], known: bool, begin: Callable[[], None], growing: bool
    ) -> Total:
        """Brings over those that are not there, by size and digest; what the source has. `begin` is called before a write.

        While the owner is growing, a file that looks as it did when it was last read is not read again.
        """
        there = {one.path: one for one in self.files(owner)} if known else {}
        found = Total()
        for file in files:
            try:
                found += self._put_file(owner, file, there.get(file.path), begin, growing)
            except (errors.InvalidRequest, errors.DataLost, OSError) as error:
                self.report.fail(f"file {file.path} of {owner}", error)
                found += Total(1, 0, file.size)
        return found

    def _put_file(
        self, owner: str, file: SourceFile, has: Artifact | None, begin: Callable[[], None], growing: bool
    ) -> Total:
        size, stamp, sha256 = self._digests.get((owner, file.path), (-1, "", ""))
        if not growing or (size, stamp) != (file.size, file.stamp):
            sha256 = digest(file) if has is not None and has.size_bytes == file.size else ""
        if has is None or not sha256 or has.sha256 != sha256:
            begin()
            stored = self.client.artifacts.upload_from(owner, file.open, file.size, file.path)
            self.report.add(changed=1, files=1, size=stored.size_bytes)
            size, sha256 = stored.size_bytes, stored.sha256
        else:
            size = file.size
        self._digests[owner, file.path] = (file.size, file.stamp, sha256)
        return checksum.of_file(owner, file.path, size, bytes.fromhex(sha256))

    def files(self, owner: str) -> tuple[Artifact, ...]:
        """Those that are here; none of an owner that is not."""
        try:
            return self.client.artifacts.list(owner)
        except errors.NotFound:
            return ()

    def run(self, run_id: str, *, whole: bool = False) -> tracking_pb2.Run | None:
        """As it is here; `whole` waits for the points that were sent."""
        request = wire.GetRunRequest(run_id=run_id, at_least=self.sending.positions() if whole else ())
        try:
            return self._connection.call(lambda c: c.tracking.GetRun, request).run
        except errors.NotFound:
            return None

    def model(self, model_id: str) -> tracking_pb2.LoggedModel | None:
        """As it is here, in the bin or not."""
        request = wire.GetLoggedModelRequest(model_id=model_id, show_deleted=True)
        try:
            return self._connection.call(lambda c: c.tracking.GetLoggedModel, request).model
        except errors.NotFound:
            return None

    def say_run(self, run: tracking_pb2.Run, delete_ms: int | None = None) -> None:
        """Makes it so."""
        request = wire.ImportRunRequest(run=run, delete_time=wires.time(delete_ms))
        self._changed(self._connection.call(lambda c: c.tracking.ImportRun, request).changed)

    def take_out_of_bin(self, experiment: str) -> None:
        """An experiment whose runs get something more."""
        source = self._bins.get(experiment)
        if source is not None:
            self._import_experiment(source, deleted=False)

    def has_run(self, run_id: str, totals: Totals, points: Total | None = None) -> None:
        """What the source has of a run; `points` if they were just read here, and none sent."""
        self._has(f"run {run_id}", totals, lambda: self._run_totals(run_id, points))

    def read_back(self, jobs: int) -> None:
        """Reads all things that were put since the last time, by the same calls as anyone; what is there goes into the report.

        What was not read again in the source, and is otherwise than it was seen to be, is put after all.
        """
        self._read(list(self._readers), jobs)
        again = [thing for thing in self._skipped if self.report.source[thing] != self.report.target[thing]]
        spread(again, lambda thing: self._skipped[thing](), jobs)
        self.finish()
        self._read(again, jobs)
        self._readers.clear()
        self._skipped.clear()
        self.seen.save()

    def _read(self, things: Sequence[str], jobs: int) -> None:
        def read(thing: str) -> None:
            try:
                self.report.target[thing] = self._readers[thing]()
            except errors.NotFound:
                self.report.target[thing] = {}

        spread(things, read, jobs)

    def _has(self, thing: str, totals: Totals, read: Callable[[], Totals]) -> None:
        self.report.source[thing] = totals
        self._readers[thing] = read

    def _experiment(self, name: str) -> Totals:
        request = wire.GetExperimentRequest(name=name)
        return checksum.of_experiment(self._connection.call(lambda c: c.tracking.GetExperiment, request).experiment)

    def _run_totals(self, run_id: str, points: Total | None) -> Totals:
        found = self.run(run_id, whole=True)
        if found is None:
            return {}
        if points is None:
            points = checksum.total(self.sending.totals(run_id).values())
        return {**checksum.of_run(found), "points": points, "files": self._file_totals(run_id)}

    def _model_of(self, source: SourceModel) -> Callable[[], Totals]:
        return lambda: self._model_totals(source.model_id)

    def _model_totals(self, model_id: str) -> Totals:
        found = self.model(model_id)
        return {} if found is None else {**checksum.of_model(found), "files": self._file_totals(model_id)}

    def _file_totals(self, owner: str) -> Total:
        return checksum.total(
            checksum.of_file(owner, one.path, one.size_bytes, bytes.fromhex(one.sha256)) for one in self.files(owner)
        )

    def _registered_totals(self, name: str, aliases: Collection[str]) -> Totals:
        """With those aliases that the source knows: others may have been given here."""
        request = registry.GetModelRequest(name=name)
        found = self._connection.call(lambda c: c.registry.GetModel, request).model
        for alias in found.aliases.keys() - set(aliases):
            del found.aliases[alias]
        return checksum.of_registered(found)

    def _version_totals(self, name: str, number: int) -> Totals:
        request = registry.GetModelVersionRequest(model_name=name, version=number)
        return checksum.of_version(self._connection.call(lambda c: c.registry.GetModelVersion, request).version)

    def _say_model(self, model: tracking_pb2.LoggedModel) -> None:
        request = wire.ImportLoggedModelRequest(model=model)
        self._changed(self._connection.call(lambda c: c.tracking.ImportLoggedModel, request).changed)

    def _import_experiment(self, source: SourceExperiment, *, deleted: bool) -> tracking_pb2.Experiment:
        request = wire.ImportExperimentRequest(
            experiment=wires.experiment(source, deleted=deleted),
            request_id=source.request_id,
            delete_time=wires.time(source.update_ms),
        )
        answer = self._connection.call(lambda c: c.tracking.ImportExperiment, request)
        self._changed(answer.changed)
        return answer.experiment

    def _is_deleted(self, name: str) -> bool:
        try:
            return self.client.get_experiment(name).deleted
        except errors.NotFound:
            return False

    def _changed(self, changed: bool) -> None:
        if changed:
            self.report.add(changed=1)


class _Run:
    """One run on its way."""

    def __init__(self, target: Target, source: SourceRun, final: tracking_pb2.Run) -> None:
        self._target = target
        self._source = source
        self._final = final
        self._flawed = False
        self._known = target.run(source.run_id)
        self._ready = self._known is not None and self._known.lifecycle_stage != _DELETED

    def put(self) -> None:
        target, source, final = self._target, self._source, self._final
        points, here = self._put_points()
        growing = source.state in {"RUNNING", "SCHEDULED"}
        files = target.put_files(source.run_id, source.files(), self._known is not None, self._begin, growing)
        target.report.leave(source.left_out)
        totals: Totals = {**checksum.of_run(final), "points": points, "files": files}
        target.has_run(source.run_id, totals, here)
        target.seen.add(f"run {source.run_id}", "" if self._flawed else source.mark, totals)
        if source.deleted and not self._is_deleted():
            target.say_run(_active(final))
            target.later(lambda: target.say_run(final, source.delete_ms))
        else:
            target.say_run(final, source.delete_ms)

    def _is_deleted(self) -> bool:
        """Whether it lies in the bin here, and nothing was to be written."""
        return self._known is not None and not self._ready

    def _begin(self) -> None:
        """Before something is written to it."""
        if self._ready:
            return
        if self._source.deleted:
            self._target.take_out_of_bin(self._source.experiment)
        self._target.say_run(wires.opened(self._final) if self._known is None else _active(self._final))
        self._ready = True

    def _put_points(self) -> tuple[Total, Total | None]:
        """What the source has; and what is here, where nothing had to be sent."""
        run_id, sending = self._source.run_id, self._target.sending
        there = sending.totals(run_id) if self._known is not None else {}
        found = Total()

        def missing() -> Iterator[tuple[str, Points]]:
            nonlocal found
            for series in self._source.series():
                points = self._good(series.key, Points.of(series))
                if not len(points):
                    continue
                total = checksum.of_points(run_id, series.key, points)
                found += total
                if total != (has := there.get(series.key, Total())):
                    wanted = lacking(points, sending.points(run_id, series.key)) if has.count else points
                    if len(wanted):
                        self._begin()
                        yield series.key, wanted

        sent = sending.send(run_id, missing())
        self._target.report.add(points=sent, changed=int(sent > 0))
        return found, None if sent or self._known is None else checksum.total(there.values())

    def _good(self, key: str, points: Points) -> Points:
        """Those that can be kept, each once; the others are told."""
        report = self._target.report
        if problem := key_problem(key):
            self._flawed = True
            report.fail(f"run {self._source.run_id}", f"{len(points):,} points cannot be kept: {problem}")
            return points.at(slice(0, 0))
        near = (abs(points.steps) < FAR) & (abs(points.times) < FAR)
        if not near.all():
            self._flawed = True
            far = len(points) - int(near.sum())
            report.fail(f"run {self._source.run_id}", f"{far:,} points of {key!r} cannot be kept: step or time too far")
            points = points.at(near)
        once = each_once(points)
        report.add(repeats=len(points) - len(once))
        return once


def _active(message: B) -> B:
    """The same, in no bin."""
    copy = type(message)()
    copy.CopyFrom(message)
    copy.lifecycle_stage = tracking_pb2.LIFECYCLE_STAGE_ACTIVE
    return copy


def digest(file: SourceFile) -> str:
    """SHA-256 of what is in it, in hexadecimal digits."""
    sha256 = hashlib.sha256()
    with file.open() as opened:
        while part := opened.read(_PART_BYTES):
            sha256.update(part)
    return sha256.hexdigest()
