"""From a Headrace to an MLflow server: brings what is there, then reads it back and compares."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TypeVar

from headrace import errors
from headrace.imports import checksum, wires
from headrace.imports.bringing import Source, Tell
from headrace.imports.checksum import Total, Totals
from headrace.imports.mlflow import normal
from headrace.imports.mlflow.back import Back
from headrace.imports.mlflow.entities import Choice
from headrace.imports.mlflow.http import Http
from headrace.imports.mlflow.normal import Ids
from headrace.imports.mlflow.server import Server
from headrace.imports.parallel import spread
from headrace.imports.points import Points, each_once
from headrace.imports.progress import READING
from headrace.imports.report import Report
from headrace.imports.source import SourceFile, SourceModel, SourceRun
from headrace.imports.target import digest

_REFUSED = (errors.InvalidRequest, errors.WrongState, errors.AlreadyExists, errors.NotFound)
_KEPT = (
    "MLflow chooses ids of its own: the tags headrace.run_id, headrace.model_id and headrace.version name Headrace's",
    "MLflow takes no times of experiments, logged models, registered models and versions: they begin now",
    "MLflow keeps infinities as \u00b11.8e308, and not who made a version",
)

T = TypeVar("T")


class Exporting:
    """One way, once."""

    def __init__(self, source: Source, http: Http, choice: Choice, *, jobs: int, tell: Tell) -> None:
        """`source` is Headrace's (`ours.Ours`)."""
        self.report = Report()
        self._source = source
        self._http = http
        self._choice = choice
        self._jobs = jobs
        self._tell = tell

    def run(self) -> Report:
        """Brings all, and says what both sides have. Raises HeadraceError where one is away."""
        for text in _KEPT:
            self.report.note(text)
        source, jobs = self._source, self._jobs
        back = Back(self._http, self._there(), self.report)
        spread(source.experiments(), self._put("experiment", lambda one: repr(one.name), back.put_experiment), 1)
        runs = list(source.runs())
        spread(runs, self._put("run", lambda one: one.run_id, back.put_run), jobs)
        spread(source.models(), self._put("logged model", lambda one: one.model_id, back.put_model), jobs)
        uses = (run for run in runs if run.input_models or run.output_models)
        spread(uses, self._put("lineage", lambda one: one.run_id, back.put_uses), jobs)
        spread(source.registered(), self._put("model", lambda one: repr(one.name), back.put_registered), 1)
        back.finish()
        self._tell(READING, self.report)
        self.report.source.update(self._totals(source, normal.as_is, normal.as_is))
        self.report.target.update(self._read_back())
        return self.report

    def _put(self, what: str, name: Callable[[T], str], work: Callable[[T], object]) -> Callable[[T], None]:
        def one(item: T) -> None:
            try:
                work(item)
            except _REFUSED as error:
                self.report.fail(f"{what} {name(item)}", error)
            self._tell(what, self.report)

        return one

    def _there(self) -> Server:
        return Server(self._http, self._choice, lambda _: None, {})

    def _read_back(self) -> Mapping[str, Totals]:
        there = self._there()
        runs = {one.run_id: one.tags[normal.RUN] for one in there.runs() if normal.RUN in one.tags}
        models = {one.model_id: one.tags[normal.MODEL] for one in there.models() if normal.MODEL in one.tags}
        found = self._totals(there, lambda id_: runs.get(id_, ""), lambda id_: models.get(id_, ""))
        return {thing: totals for thing, totals in found.items() if thing in self.report.source}

    def _totals(self, source: Source, run_of: Ids, model_of: Ids) -> Mapping[str, Totals]:
        """Of each thing that has an id of Headrace's."""
        found: dict[str, Totals] = {}
        for experiment in source.experiments():
            message = wires.experiment(normal.experiment(experiment), deleted=experiment.deleted)
            found[f"experiment {experiment.name!r}"] = checksum.of_experiment(message)

        def add_run(run: SourceRun) -> None:
            if run_id := run_of(run.run_id):
                known = wires.run(replace(normal.run(run, model_of), run_id=run_id), run.experiment)
                points = checksum.total(
                    checksum.of_points(run_id, one.key, normal.points(each_once(Points.of(one))))
                    for one in run.series()
                    if len(one)
                )
                found[f"run {run_id}"] = {
                    **checksum.of_run(known),
                    "points": points,
                    "files": _files(run_id, run.files()),
                }

        def add_model(model: SourceModel) -> None:
            if model_id := model_of(model.model_id):
                known = wires.model(replace(normal.model(model, run_of), model_id=model_id), model.experiment)
                files = _files(model_id, model.files())
                found[f"logged model {model_id}"] = {**checksum.of_model(known), "files": files}

        spread(source.runs(), add_run, self._jobs)
        spread(source.models(), add_model, self._jobs)
        for one in source.registered():
            found[f"model {one.name!r}"] = checksum.of_registered(wires.registered(normal.registered(one)))
            for version in one.versions:
                told = wires.version(one.name, normal.version(version, run_of, model_of))
                found[f"version {version.number} of model {one.name!r}"] = checksum.of_version(told)
        return found


def _files(owner: str, files: Iterable[SourceFile]) -> Total:
    return checksum.total(checksum.of_file(owner, file.path, file.size, bytes.fromhex(digest(file))) for file in files)
