"""Writes what a source has to an MLflow server, by its REST interface; to write it again changes nothing.

MLflow chooses ids: tags name Headrace's (`normal`), by which a thing is found again. Points that are there are not sent again,
and MLflow itself takes an exact repeat for the same point. What was killed half-way goes on.
"""

import math
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar
from urllib.parse import quote

import numpy as np

from headrace import errors
from headrace.api.tracking.v1 import tracking_pb2
from headrace.imports.mlflow import normal
from headrace.imports.mlflow.http import Http
from headrace.imports.mlflow.server import Server
from headrace.imports.points import Points, each_once, lacking
from headrace.imports.report import Report
from headrace.imports.source import (
    SourceExperiment,
    SourceFile,
    SourceModel,
    SourceRegisteredModel,
    SourceRun,
    SourceVersion,
)
from headrace.records import DatasetInput

_POINTS: Final = 1000
_ENTRIES: Final = 100
_PROXIED: Final = "mlflow-artifacts:"

T = TypeVar("T")
Told = Mapping[str, Any]


class Back:
    """One MLflow server. Put experiments first, then runs, logged models, registered models; `finish` last."""

    def __init__(self, http: Http, there: Server, report: Report) -> None:
        """`there` tells what it has of the experiments that come."""
        self._http = http
        self._report = report
        self._experiments: dict[str, str] = {one.name: one.wished_id for one in there.experiments()}
        self._deleted = {one.name for one in there.experiments() if one.deleted}
        self.runs = {one.tags[normal.RUN]: one for one in there.runs() if normal.RUN in one.tags}
        self.models = {one.tags[normal.MODEL]: one for one in there.models() if normal.MODEL in one.tags}
        self._nan: set[tuple[str, str, int, int]] = set()  # points of runs
        self._gone: list[tuple[str, str, dict[str, str]]] = []
        self._bins: list[str] = []
        self._lock = threading.Lock()

    def put_experiment(self, source: SourceExperiment) -> None:
        """By its name."""
        known = self._experiments.get(source.name)
        if known is None:
            known = self._http.post("experiments/create", name=source.name)["experiment_id"]
            self._report.add(changed=1)
        elif source.name in self._deleted and not source.deleted:
            self._http.post("experiments/restore", experiment_id=known)
            self._report.add(changed=1)
        self._experiments[source.name] = str(known)
        told = self._http.get("experiments/get", experiment_id=known)["experiment"]
        has = {one["key"]: one.get("value", "") for one in told.get("tags", [])}
        for key, value in source.tags.items():
            if has.get(key) != value:
                self._http.post("experiments/set-experiment-tag", experiment_id=known, key=key, value=value)
                self._report.add(changed=1)
        if source.deleted and source.name not in self._deleted:
            self._bins.append(source.name)

    def put_run(self, source: SourceRun) -> None:
        """A run with its points and files; what it used and made comes with `put_uses`."""
        known = self.runs.get(source.run_id)
        if known is not None and source.deleted and known.deleted:
            return  # whatever it lacks cannot be written there
        run_id = known.run_id if known is not None else self._new_run(source)
        if known is not None and known.deleted:
            self._http.post("runs/restore", run_id=run_id)
        self._put_entries(run_id, source, known)
        self._put_points(run_id, source, known)
        self._put_files(self._uri("runs/get", run_id), source.files(), known.files() if known is not None else iter(()))
        if known is None or (known.state, known.end_ms) != (source.state, source.end_ms):
            ended = {"end_time": source.end_ms} if source.end_ms is not None else {}
            self._http.post("runs/update", run_id=run_id, status=source.state, **ended)
            self._report.add(changed=known is not None)
        if source.deleted:
            self._later("POST", "runs/delete", run_id=run_id)

    def _new_run(self, source: SourceRun) -> str:
        made = self._http.post(
            "runs/create",
            experiment_id=self._experiments[source.experiment],
            user_id=source.user,
            run_name=source.name,
            start_time=source.start_ms,
            tags=[{"key": normal.RUN, "value": source.run_id}],
        )
        run_id = str(made["run"]["info"]["run_id"])
        with self._lock:
            self.runs[source.run_id] = replace(source, run_id=run_id)
        self._report.add(changed=1)
        return run_id

    def _put_entries(self, run_id: str, source: SourceRun, known: SourceRun | None) -> None:
        has_params, has_tags = (known.params, known.tags) if known is not None else ({}, {})
        for kind, wanted, has in (("params", source.params, has_params), ("tags", source.tags, has_tags)):
            lacks = [{"key": key, "value": value} for key, value in wanted.items() if has.get(key) != value]
            for some in _some(lacks, _ENTRIES):
                self._http.post("runs/log-batch", run_id=run_id, **{kind: some})
                self._report.add(changed=known is not None)
        datasets = [{"dataset": _dataset(one), "tags": _list(one.tags)} for one in source.inputs]
        if datasets and (known is None or len(known.inputs) < len(datasets)):
            self._http.post("runs/log-inputs", run_id=run_id, datasets=datasets)

    def _put_points(self, run_id: str, source: SourceRun, known: SourceRun | None) -> None:
        there = {one.key: Points.of(one) for one in known.series()} if known is not None else {}
        waiting: list[dict[str, object]] = []
        for series in source.series():
            points = normal.points(each_once(Points.of(series)))
            odd = points.at(np.isnan(points.values))
            self._nan.update(
                (source.run_id, series.key, step, time)
                for step, time in zip(odd.steps.tolist(), odd.times.tolist(), strict=True)
            )
            if series.key in there:
                points = lacking(points, there[series.key])
            self._report.add(points=len(points), changed=len(points) > 0)
            for step, time, value in zip(
                points.steps.tolist(), points.times.tolist(), points.values.tolist(), strict=True
            ):
                waiting.append({"key": series.key, "value": _number(value), "timestamp": time, "step": step})
                if len(waiting) == _POINTS:
                    self._http.post("runs/log-batch", run_id=run_id, metrics=waiting)
                    waiting = []
        if waiting:
            self._http.post("runs/log-batch", run_id=run_id, metrics=waiting)

    def put_uses(self, source: SourceRun) -> None:
        """What a run used and made of logged models that are here."""
        run = self.runs[source.run_id]
        told = self._http.get("runs/get", run_id=run.run_id)["run"]
        if told["info"].get("lifecycle_stage") == "deleted":
            return
        used = {one["model_id"] for one in told.get("inputs", {}).get("model_inputs", [])}
        made = {one["model_id"] for one in told.get("outputs", {}).get("model_outputs", [])}
        inputs = [self.models[one].model_id for one in source.input_models if one in self.models]
        outputs = [(self.models[one].model_id, step) for one, step in source.output_models if one in self.models]
        if new := [{"model_id": one} for one in inputs if one not in used]:
            self._http.post("runs/log-inputs", run_id=run.run_id, models=new)
        if more := [{"model_id": one, "step": step} for one, step in outputs if one not in made]:
            self._http.post("runs/outputs", run_id=run.run_id, models=more)

    def put_model(self, source: SourceModel) -> None:
        """A logged model with its files."""
        known = self.models.get(source.model_id)
        if known is not None and known.deleted:
            return
        model_id = known.model_id if known is not None else self._new_model(source)
        if known is not None:
            tags = normal.model_tags(source.tags)
            lacks = {key: value for key, value in tags.items() if known.tags.get(key) != value}
            if lacks:
                self._http.send("PATCH", f"logged-models/{model_id}/tags", tags=_list(lacks))
                self._report.add(changed=1)
        self._put_measured(model_id, source, known)
        there = known.files() if known is not None else iter(())
        self._put_files(self._uri(f"logged-models/{model_id}"), source.files(), there)
        if source.state != "PENDING" and (known is None or known.state == "PENDING"):
            status = "LOGGED_MODEL_READY" if source.state == "READY" else "LOGGED_MODEL_UPLOAD_FAILED"
            self._http.send("PATCH", f"logged-models/{model_id}", model_id=model_id, status=status)
        if source.deleted:
            self._later("DELETE", f"logged-models/{model_id}")

    def _new_model(self, source: SourceModel) -> str:
        made = self._http.post(
            "logged-models",
            experiment_id=self._experiments[source.experiment],
            name=source.name,
            source_run_id=self.runs[source.run_id].run_id if source.run_id in self.runs else "",
            model_type=source.model_type,
            params=_list(source.params),
            tags=_list({**normal.model_tags(source.tags), normal.MODEL: source.model_id}),
        )
        model_id = str(made["model"]["info"]["model_id"])
        with self._lock:
            self.models[source.model_id] = replace(source, model_id=model_id)
        self._report.add(changed=1)
        return model_id

    def _put_measured(self, model_id: str, source: SourceModel, known: SourceModel | None) -> None:
        """By the run that measured: MLflow takes them for points of the run too, which it has already."""
        has = {_series(one, one.run_id) for one in known.metrics} if known is not None else set[object]()
        for one in source.metrics:
            run = self.runs.get(one.run_id)
            if run is None or _series(one, run.run_id) in has:
                continue
            # MLflow keeps NaN as 0 with a model: said so to the run, it would be another point there.
            odd = (one.run_id, one.key, one.step, one.time_ms) in self._nan
            point = {
                "key": one.key,
                "value": "NaN" if odd else _number(one.value),
                "timestamp": one.time_ms,
                "step": one.step,
            }
            data = {"dataset_name": one.dataset_name, "dataset_digest": one.dataset_digest} if one.dataset_name else {}
            self._http.post("runs/log-batch", run_id=run.run_id, metrics=[{**point, "model_id": model_id, **data}])
            self._report.add(changed=1)

    def put_registered(self, source: SourceRegisteredModel) -> None:
        """A registered model with its versions under their numbers, then its aliases."""
        try:
            told: Told = self._http.get("registered-models/get", name=source.name)["registered_model"]
        except errors.NotFound:
            made = {"tags": _list(source.tags), "description": source.description}
            told = self._http.post("registered-models/create", name=source.name, **made)["registered_model"]
            self._report.add(changed=1)
        has = {one["key"]: one.get("value", "") for one in told.get("tags", [])}
        for key, value in source.tags.items():
            if has.get(key) != value:
                self._http.post("registered-models/set-tag", name=source.name, key=key, value=value)
        if told.get("description", "") != source.description:
            self._http.send("PATCH", "registered-models/update", name=source.name, description=source.description)
        self._put_versions(source)
        aliases = {one["alias"]: int(one["version"]) for one in told.get("aliases", [])}
        for alias, number in source.aliases.items():
            if aliases.get(alias) != number:
                self._http.post("registered-models/alias", name=source.name, alias=alias, version=str(number))
                self._report.add(changed=1)

    def _put_versions(self, source: SourceRegisteredModel) -> None:
        mark = '"' if "'" in source.name else "'"
        found = self._http.get("model-versions/search", filter=f"name = {mark}{source.name}{mark}", max_results=10_000)
        there: dict[int, Told] = {}
        for one in found.get("model_versions", []):
            tags = {tag["key"]: tag.get("value", "") for tag in one.get("tags", [])}
            if tags.get(normal.VERSION) == str(one["version"]):
                there[int(one["version"])] = {**one, "tags": tags}
            elif normal.VERSION in tags:  # made to get behind a number that is not given any more, then killed
                self._delete_version(source.name, str(one["version"]))
        for version in sorted(source.versions, key=lambda one: one.number):
            thing = f"version {version.number} of model {source.name!r}"
            try:
                known = there.get(version.number) or self._new_version(source.name, version)
                self._change_version(source.name, version, known)
            except (errors.InvalidRequest, errors.WrongState) as error:
                self._report.fail(thing, error)

    def _new_version(self, name: str, version: SourceVersion) -> Told:
        """MLflow counts on from the highest number: versions with lower ones are made, and deleted at once."""
        model = self.models.get(version.model_id)
        asked = {
            "name": name,
            "source": f"models:/{model.model_id}" if model else version.source,
            "run_id": self.runs[version.run_id].run_id if version.run_id in self.runs else "",
            "run_link": version.run_link,
            "description": version.description,
            "tags": _list({**version.tags, normal.VERSION: str(version.number)}),
            **({"model_id": model.model_id} if model else {}),
        }
        while True:
            made = self._http.post("model-versions/create", **asked)["model_version"]
            number = int(made["version"])
            if number == version.number:
                self._report.add(changed=1)
                return {**made, "tags": {tag["key"]: tag.get("value", "") for tag in made.get("tags", [])}}
            self._delete_version(name, str(number))
            if number > version.number:
                raise errors.WrongState(f"MLflow gave the number {version.number} to another version before")

    def _change_version(self, name: str, version: SourceVersion, known: Told) -> None:
        number = str(version.number)
        if known.get("description", "") != version.description:
            self._http.send(
                "PATCH", "model-versions/update", name=name, version=number, description=version.description
            )
        if known.get("current_stage", "None") != version.stage:
            self._http.post("model-versions/transition-stage", name=name, version=number, stage=version.stage)
            self._report.add(changed=1)
        for key, value in version.tags.items():
            if known["tags"].get(key) != value:
                self._http.post("model-versions/set-tag", name=name, version=number, key=key, value=value)

    def _delete_version(self, name: str, number: str) -> None:
        self._http.send("DELETE", "model-versions/delete", name=name, version=number)

    def finish(self) -> None:
        """Moves to the bin what is in the source's; experiments last."""
        for verb, route, fields in self._gone:
            self._http.send(verb, route, **fields)
            self._report.add(changed=1)
        self._gone.clear()
        for name in self._bins:
            self._http.post("experiments/delete", experiment_id=self._experiments[name])
            self._report.add(changed=1)
        self._bins.clear()

    def _later(self, verb: str, route: str, **fields: str) -> None:
        with self._lock:
            self._gone.append((verb, route, fields))

    def _uri(self, route: str, run_id: str = "") -> str:
        told = self._http.get(route, run_id=run_id)
        return str((told["run"] if run_id else told["model"])["info"].get("artifact_uri", ""))

    def _put_files(self, root: str, files: Iterable[SourceFile], there: Iterator[SourceFile]) -> None:
        known = {file.path: file.size for file in there}
        for file in files:
            if known.get(file.path) == file.size:
                continue
            if not root.startswith(_PROXIED):
                raise errors.WrongState(
                    f"MLflow keeps files at {root}, where this command cannot put them: start its server with --serve-artifacts"
                    " and --artifacts-destination, or leave files out (--no-artifacts)"
                )
            below = root.partition(":")[2].strip("/")
            with file.open() as body:
                self._http.put(f"/api/2.0/mlflow-artifacts/artifacts/{quote(f'{below}/{file.path}')}", body, file.size)
            self._report.add(changed=1, files=1, size=file.size)


def _dataset(one: DatasetInput) -> dict[str, str]:
    data = one.dataset
    told = {"name": data.name, "digest": data.digest, "source_type": data.source_type, "source": data.source}
    return {**told, **{key: value for key, value in (("schema", data.schema), ("profile", data.profile)) if value}}


def _series(one: tracking_pb2.ModelMetric, run_id: str) -> tuple[object, ...]:
    return one.key, one.dataset_name, one.dataset_digest, run_id, one.step, one.time_ms


def _some(items: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    return (items[start : start + most] for start in range(0, len(items), most))


def _list(entries: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in entries.items()]


def _number(value: float) -> float | str:
    """JSON has no NaN."""
    if math.isnan(value):
        return "NaN"
    return max(min(value, 1.7976931348623157e308), -1.7976931348623157e308)
