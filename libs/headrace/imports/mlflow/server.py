"""A running MLflow server as a source: its REST interface, and nothing else."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final
from urllib.parse import quote, urlencode

from headrace import errors
from headrace.api.tracking.v1 import tracking_pb2
from headrace.imports.mlflow import origins
from headrace.imports.mlflow.entities import Choice, experiment_key, latest, mark, model_state, run_state
from headrace.imports.mlflow.http import Http
from headrace.imports.mlflow.origins import Home, Version
from headrace.imports.mlflow.stores import Stores
from headrace.imports.source import SourceExperiment, SourceFile, SourceModel, SourceRegisteredModel, SourceRun
from headrace.records import Dataset, DatasetInput, MetricHistory

_RUNS: Final = 500
_POINTS: Final = 25_000
"""In a page of a history. MLflow finds a page by counting from the beginning: few large ones."""
_PROMPTS: Final = "tags.`mlflow.prompt.is_prompt` = 'true'"

Told = Mapping[str, Any]


class Server:
    """A source. Raises Unavailable where nobody answers, Unsupported where no MLflow does.

    `uses` keeps, for the next time, which logged models each run used: a search does not tell it.
    """

    def __init__(
        self, http: Http, choice: Choice, note: Callable[[str], None], uses: dict[str, tuple[str, ...]]
    ) -> None:
        self._http = http
        self._choice = choice
        self._note = note
        self._uses = uses
        self._proxy = Stores(http.uri, lambda _: http)
        self._experiments = [one for one in self._known() if choice.takes(one["name"])]
        self._homes: dict[str, Home] = {}
        self._models: set[str] = set()
        self._used: dict[str, str] = {}  # logged models that runs name, and the experiment
        note(f"MLflow {http.version()} at {http.uri}")

    def _known(self) -> Iterator[Told]:
        yield from self._pages("experiments/search", "experiments", view_type="ALL", max_results=1000)

    def experiments(self) -> Iterator[SourceExperiment]:
        """Those in the bin too."""
        for one in self._experiments:
            created = _number(one.get("creation_time"))
            yield SourceExperiment(
                name=one["name"],
                wished_id=str(one["experiment_id"]),
                request_id=experiment_key(str(one["experiment_id"]), created),
                tags=_entries(one.get("tags")),
                create_ms=created,
                update_ms=_number(one.get("last_update_time")),
                deleted=one.get("lifecycle_stage") == "deleted",
            )

    def runs(self) -> Iterator[SourceRun]:
        """The oldest first: a run that begins meanwhile comes last, and moves none to another page."""
        by_age = ["attributes.start_time ASC", "attributes.run_id ASC"]
        with ThreadPoolExecutor(self._choice.connections) as pool:
            for experiment in self._experiments:
                asked = {"experiment_ids": [experiment["experiment_id"]], "max_results": _RUNS, "order_by": by_age}
                for answer in self._answers("POST", "runs/search", {**asked, "run_view_type": "ALL"}):
                    told = answer.get("runs", [])
                    for one, used in zip(told, pool.map(self._used_by, told), strict=True):
                        yield self._run(one, experiment, used)

    def _used_by(self, told: Told) -> tuple[str, ...]:
        """Logged models that a run used; of one that has not changed it is not asked again."""
        key = mark(json.dumps(told, sort_keys=True))
        if key not in self._uses:
            run = self._http.get("runs/get", run_id=told["info"]["run_id"])["run"]
            self._uses[key] = tuple(one["model_id"] for one in run.get("inputs", {}).get("model_inputs", []))
        return self._uses[key]

    def _run(self, told: Told, experiment: Told, used: tuple[str, ...]) -> SourceRun:
        info, data = told["info"], told.get("data", {})
        run_id = info["run_id"]
        self._homes[run_id] = Home(experiment["name"], partial(self._files_of_run, info))
        inputs, outputs = told.get("inputs", {}), told.get("outputs", {})
        made = tuple((one["model_id"], _number(one.get("step")) or 0) for one in outputs.get("model_outputs", []))
        self._used.update(dict.fromkeys((*used, *(model_id for model_id, _ in made)), experiment["name"]))
        return SourceRun(
            run_id=run_id,
            experiment=experiment["name"],
            name=info.get("run_name", ""),
            user=info.get("user_id", ""),
            state=run_state(info.get("status")),
            start_ms=_number(info.get("start_time")) or 0,
            end_ms=_number(info.get("end_time")),
            params=_entries(data.get("params")),
            tags=_entries(data.get("tags")),
            inputs=tuple(map(_input, inputs.get("dataset_inputs", []))),
            series=partial(self._series, run_id, [one["key"] for one in data.get("metrics", [])]),
            files=partial(self._homes[run_id].files, ""),
            input_models=used,
            output_models=made,
            deleted="deleted" in {info.get("lifecycle_stage"), experiment.get("lifecycle_stage")},
            mark=mark(json.dumps(told, sort_keys=True), used),
        )

    def _series(self, run_id: str, keys: Sequence[str]) -> Iterator[MetricHistory]:
        for key in sorted(keys):
            history = MetricHistory(key)
            asked = {"run_id": run_id, "metric_key": key, "max_results": _POINTS}
            for page in self._answers("GET", "metrics/get-history", asked):
                points = page.get("metrics", [])
                history.steps.extend(int(one.get("step", 0)) for one in points)
                history.times_ms.extend(int(one["timestamp"]) for one in points)
                history.values.extend(float(one["value"]) for one in points)
            yield history

    def models(self) -> Iterator[SourceModel]:
        """Those in the bin only where a run names them: the server lists no others."""
        names = {str(one["experiment_id"]): one["name"] for one in self._experiments}
        active = [str(one["experiment_id"]) for one in self._experiments if one.get("lifecycle_stage") != "deleted"]
        for number in active:
            for told in self._pages("logged-models/search", "models", experiment_ids=[number], max_results=50):
                yield self._model(told, names, deleted=False)
        for model_id in self._used.keys() - self._models:
            try:
                told = self._http.get(f"logged-models/{model_id}", allow_deleted="true")["model"]
            except errors.NotFound:
                continue
            if str(told["info"]["experiment_id"]) in active:
                yield self._model(told, names, deleted=True)
            elif str(told["info"]["experiment_id"]) in names:
                yield self._model(told, names, deleted=False)

    def _model(self, told: Told, experiments: Mapping[str, str], *, deleted: bool) -> SourceModel:
        info, data = told["info"], told.get("data", {})
        model_id, run_id, tags = info["model_id"], info.get("source_run_id", ""), _entries(info.get("tags"))
        self._models.add(model_id)
        return SourceModel(
            model_id=model_id,
            experiment=experiments[str(info["experiment_id"])],
            run_id=run_id if run_id in self._homes else "",
            name=info["name"],
            model_type=info.get("model_type", ""),
            state=model_state(info.get("status")),
            state_message=info.get("status_message", ""),
            user=tags.get("mlflow.user", ""),
            params=_entries(data.get("params")),
            tags=tags,
            create_ms=int(info["creation_timestamp_ms"]),
            update_ms=int(info["last_updated_timestamp_ms"]),
            metrics=latest(map(_measured, data.get("metrics", []))),
            files=partial(self._files_of_deleted if deleted else self._files_of_model, info),
            deleted=deleted,
            mark=mark(json.dumps(told, sort_keys=True)),
        )

    def registered(self) -> Iterator[SourceRegisteredModel]:
        """Prompts too. Where experiments were named, those with a version that comes from one of them."""
        for wanted in ("", _PROMPTS):
            for told in self._pages(
                "registered-models/search", "registered_models", "GET", filter=wanted, max_results=100
            ):
                name = told["name"]
                versions = [_version(one) for one in self._versions(name, wanted)]
                kept = [one for one in versions if self._wanted(one)]
                if self._choice.experiments and not kept:
                    continue
                numbers = {one.number for one in kept}
                created = int(told["creation_timestamp"])
                aliases = {one["alias"]: int(one["version"]) for one in told.get("aliases", [])}
                yield SourceRegisteredModel(
                    name=name,
                    description=told.get("description", ""),
                    tags=_entries(told.get("tags")),
                    create_ms=created,
                    update_ms=int(told.get("last_updated_timestamp") or created),
                    last_version=max((one.number for one in versions), default=0),
                    versions=tuple(
                        origins.version(name, one, self._homes.get, self._models.__contains__)
                        for one in sorted(kept, key=lambda one: one.number)
                    ),
                    aliases={alias: number for alias, number in aliases.items() if number in numbers},
                )

    def _versions(self, name: str, wanted: str) -> Iterator[Told]:
        quote_ = '"' if "'" in name else "'"
        asked = f"name = {quote_}{name}{quote_}" + (f" AND {wanted}" if wanted else "")
        return self._pages("model-versions/search", "model_versions", "GET", filter=asked, max_results=1000)

    def _wanted(self, told: Version) -> bool:
        if not self._choice.experiments:
            return True
        return told.run_id in self._homes or any(model in f"{told.source} {told.storage}" for model in self._models)

    def _files_of_run(self, info: Told, path: str) -> Iterator[SourceFile]:
        run_id = info["run_id"]

        def opening(file: str) -> str:
            if str(info.get("artifact_uri", "")).startswith("mlflow-artifacts:"):
                return _proxied(info["artifact_uri"], file)
            return f"/get-artifact?{urlencode({'run_uuid': run_id, 'path': file})}"

        return self._listed("artifacts/list", {"run_id": run_id}, "path", path, opening)

    def _files_of_model(self, info: Told) -> Iterator[SourceFile]:
        model_id = info["model_id"]

        def opening(file: str) -> str:
            if str(info.get("artifact_uri", "")).startswith("mlflow-artifacts:"):
                return _proxied(info["artifact_uri"], file)
            return f"/ajax-api/2.0/mlflow/logged-models/{model_id}/artifacts/files?{urlencode({'artifact_file_path': file})}"

        route = f"logged-models/{model_id}/artifacts/directories"
        return self._listed(route, {}, "artifact_directory_path", "", opening)

    def _files_of_deleted(self, info: Told) -> Iterator[SourceFile]:
        """The server lists the files of a deleted model to nobody; its proxy does not know what is deleted."""
        uri = str(info.get("artifact_uri", ""))
        if not uri.startswith("mlflow-artifacts:"):
            self._note(
                f"the files of the deleted logged model {info['model_id']} at {uri} cannot be read by the server"
            )
            return iter(())
        return self._proxy.below(uri) if self._choice.files else iter(())

    def _listed(
        self, route: str, owner: Mapping[str, str], field: str, path: str, opening: Callable[[str], str]
    ) -> Iterator[SourceFile]:
        """The files below a path, their own from there on."""
        folders = [path] if self._choice.files else []
        while folders:
            folder = folders.pop()
            for answer in self._answers("GET", route, {**owner, field: folder}):
                for file in answer.get("files", []):
                    name = str(file["path"])
                    if file.get("is_dir"):
                        folders.append(name)
                        continue
                    below = name[len(path) :].lstrip("/")
                    yield SourceFile(below, int(file.get("file_size") or 0), partial(self._http.open, opening(name)))

    def _pages(self, route: str, name: str, verb: str = "POST", **fields: Any) -> Iterator[Told]:
        for answer in self._answers(verb, route, fields):
            yield from answer.get(name, [])

    def _answers(self, verb: str, route: str, fields: Mapping[str, Any]) -> Iterator[Told]:
        token = ""
        while True:
            asked = {**fields, **({"page_token": token} if token else {})}
            answer = self._http.get(route, **asked) if verb == "GET" else self._http.post(route, **asked)
            yield answer
            token = answer.get("next_page_token", "")
            if not token:
                return


def _proxied(root: str, path: str) -> str:
    below = root.partition(":")[2]
    if below.startswith("//"):  # mlflow-artifacts://host/path
        below = below[2:].partition("/")[2]
    whole = f"{below}/{path}".strip("/")
    return f"/api/2.0/mlflow-artifacts/artifacts/{quote(whole)}"


def _number(told: object) -> int | None:
    """64-bit numbers come as numbers or as text."""
    return None if told in {None, ""} else int(str(told))


def _entries(told: Sequence[Told] | None) -> dict[str, str]:
    return {str(one["key"]): str(one.get("value", "")) for one in told or []}


def _input(told: Told) -> DatasetInput:
    one = told["dataset"]
    dataset = Dataset(
        name=one["name"],
        digest=one["digest"],
        source=one.get("source", ""),
        schema=one.get("schema", ""),
        profile=one.get("profile", ""),
        source_type=one.get("source_type", ""),
    )
    return DatasetInput(dataset, "", _entries(told.get("tags")))


def _measured(told: Told) -> tracking_pb2.ModelMetric:
    return tracking_pb2.ModelMetric(
        key=told["key"],
        value=float(told["value"]),
        step=int(told.get("step", 0)),
        time_ms=int(told["timestamp"]),
        run_id=told.get("run_id", ""),
        dataset_name=told.get("dataset_name", ""),
        dataset_digest=told.get("dataset_digest", ""),
    )


def _version(told: Told) -> Version:
    created = int(told["creation_timestamp"])
    return Version(
        number=int(told["version"]),
        description=told.get("description", ""),
        user=told.get("user_id", ""),
        tags=_entries(told.get("tags")),
        stage=told.get("current_stage", "None"),
        source=told.get("source", ""),
        storage="",
        run_id=told.get("run_id", ""),
        run_link=told.get("run_link", ""),
        create_ms=created,
        update_ms=int(told.get("last_updated_timestamp") or created),
        model_id=told.get("model_id", ""),
    )
