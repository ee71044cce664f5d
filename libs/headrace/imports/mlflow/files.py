"""MLflow's folder of files (`mlruns`) as a source."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import yaml

from headrace import errors
from headrace.api.tracking.v1 import tracking_pb2
from headrace.imports.mlflow import origins
from headrace.imports.mlflow.entities import (
    DELETED_VERSION,
    Choice,
    experiment_key,
    latest,
    mark,
    model_state,
    run_state,
)
from headrace.imports.mlflow.origins import Home, Version
from headrace.imports.mlflow.stores import Stores, in_folder
from headrace.imports.source import SourceExperiment, SourceFile, SourceModel, SourceRegisteredModel, SourceRun
from headrace.records import Dataset, DatasetInput, MetricHistory

_META: Final = "meta.yaml"
_TRASH: Final = ".trash"
_RESERVED: Final = frozenset({"tags", "datasets", "traces", "models"})
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Meta = Mapping[str, Any]


class Files:
    """A source. Raises InvalidRequest for a folder that is none of MLflow's."""

    def __init__(self, root: Path, stores: Stores, choice: Choice) -> None:
        self._root = root
        self._stores = stores
        self._choice = choice
        self._homes: dict[str, Home] = {}
        self._models: set[str] = set()
        self._experiments = list(self._found())
        if not self._experiments and not (root / "models").is_dir():
            raise errors.InvalidRequest(
                f"{root} is no folder of MLflow's: it has no <experiment>/{_META}. Name the folder mlruns itself"
            )

    def _found(self) -> Iterator[tuple[Path, Meta, bool]]:
        """Folder, facts, and whether it lies in the bin."""
        for folder, deleted in ((self._root, False), (self._root / _TRASH, True)):
            for each in sorted(folder.iterdir()) if folder.is_dir() else ():
                meta = _meta(each)
                if meta is not None and "experiment_id" in meta and self._choice.takes(str(meta["name"])):
                    yield each, meta, deleted or meta.get("lifecycle_stage") == "deleted"

    def experiments(self) -> Iterator[SourceExperiment]:
        """Those in the bin too."""
        for folder, meta, deleted in self._experiments:
            number, created = str(meta["experiment_id"]), meta.get("creation_time")
            yield SourceExperiment(
                name=str(meta["name"]),
                wished_id=number,
                request_id=experiment_key(number, created),
                tags=_texts(folder / "tags"),
                create_ms=created,
                update_ms=meta.get("last_update_time"),
                deleted=deleted,
            )

    def runs(self) -> Iterator[SourceRun]:
        """In order of experiment and id."""
        for folder, experiment, deleted in self._experiments:
            for each in sorted(folder.iterdir()):
                if each.name in _RESERVED or (meta := _meta(each)) is None:
                    continue
                yield self._run(each, meta, experiment, deleted)

    def _run(self, folder: Path, meta: Meta, experiment: Meta, deleted: bool) -> SourceRun:
        run_id = folder.name
        self._homes[run_id] = Home(str(experiment["name"]), self._files(folder, meta.get("artifact_uri")))
        params, tags = _texts(folder / "params"), _texts(folder / "tags")
        inputs, used = _inputs(folder)
        made = _outputs(folder)
        sizes = sorted((file.path, file.size) for file in in_folder(folder / "metrics"))
        facts = (sorted(meta.items(), key=str), params, tags, inputs, used, made, sizes, deleted)
        return SourceRun(
            run_id=run_id,
            experiment=str(experiment["name"]),
            name=str(meta.get("run_name") or ""),
            user=str(meta.get("user_id") or ""),
            state=run_state(meta.get("status")),
            start_ms=meta.get("start_time") or 0,
            end_ms=meta.get("end_time"),
            params=params,
            tags=tags,
            inputs=inputs,
            series=partial(_series, folder / "metrics"),
            files=partial(self._homes[run_id].files, ""),
            input_models=used,
            output_models=made,
            deleted=deleted or meta.get("lifecycle_stage") == "deleted",
            delete_ms=meta.get("deleted_time"),
            mark=mark(facts),
        )

    def _files(self, folder: Path, uri: str | None) -> Callable[[str], Iterator[SourceFile]]:
        """Those beside the metrics, where they mostly are, even when the folder has moved; else those at the URI."""

        def below(path: str) -> Iterator[SourceFile]:
            beside = folder / "artifacts"
            if not self._choice.files:
                return iter(())
            if beside.is_dir() or not uri:
                return in_folder(beside / path)
            return self._stores.below(uri, path)

        return below

    def models(self) -> Iterator[SourceModel]:
        """Those in the bin too."""
        for folder, experiment, _ in self._experiments:
            root = folder / "models"
            for each in sorted(root.iterdir()) if root.is_dir() else ():
                if (meta := _meta(each)) is not None:
                    yield self._model(each, meta, experiment)

    def _model(self, folder: Path, meta: Meta, experiment: Meta) -> SourceModel:
        self._models.add(str(meta["model_id"]))
        run_id, tags = str(meta.get("source_run_id") or ""), _texts(folder / "tags")
        return SourceModel(
            model_id=str(meta["model_id"]),
            experiment=str(experiment["name"]),
            run_id=run_id if run_id in self._homes else "",
            name=str(meta["name"]),
            model_type=str(meta.get("model_type") or ""),
            state=model_state(meta.get("status")),
            state_message=str(meta.get("status_message") or ""),
            user=tags.get("mlflow.user", ""),
            params=_texts(folder / "params"),
            tags=tags,
            create_ms=meta["creation_timestamp"],
            update_ms=meta["last_updated_timestamp"],
            metrics=latest(_measured(folder / "metrics")),
            files=partial(self._files(folder, meta.get("artifact_location")), ""),
            deleted=meta.get("lifecycle_stage") == "deleted",
            mark=mark(
                sorted(meta.items(), key=str), [(file.path, file.size, file.stamp) for file in in_folder(folder)]
            ),
        )

    def registered(self) -> Iterator[SourceRegisteredModel]:
        """Where experiments were named, those with a version that comes from one of them."""
        root = self._root / "models"
        for folder in sorted(root.iterdir()) if root.is_dir() else ():
            if (meta := _meta(folder)) is None:
                continue
            told = [one for each in folder.glob("version-*") if (one := _version(each)) is not None]
            kept = [one for one in told if one.stage != DELETED_VERSION and self._wanted(one)]
            if self._choice.experiments and not kept:
                continue
            numbers = {one.number for one in kept}
            name = str(meta["name"])
            yield SourceRegisteredModel(
                name=name,
                description=str(meta.get("description") or ""),
                tags=_texts(folder / "tags"),
                create_ms=meta["creation_timestamp"],
                update_ms=meta.get("last_updated_timestamp") or meta["creation_timestamp"],
                last_version=max((one.number for one in told), default=0),
                versions=tuple(
                    origins.version(name, one, self._homes.get, self._models.__contains__)
                    for one in sorted(kept, key=lambda one: one.number)
                ),
                aliases={alias: int(at) for alias, at in _texts(folder / "aliases").items() if int(at) in numbers},
            )

    def _wanted(self, told: Version) -> bool:
        if not self._choice.experiments:
            return True
        return told.run_id in self._homes or any(model in f"{told.source} {told.storage}" for model in self._models)


def _meta(folder: Path) -> Meta | None:
    """What the folder's meta.yaml says; None where there is none. Raises DataLost for one that is no YAML."""
    try:
        text = (folder / _META).read_text("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        found = yaml.load(text, _LOADER)  # noqa: S506 - a safe loader
    except yaml.YAMLError as error:
        raise errors.DataLost(f"{folder / _META} cannot be read: {error}") from None
    return found if isinstance(found, dict) else None


def _texts(folder: Path) -> dict[str, str]:
    """A file an entry: its path below the folder is the key. Ends of lines stay as they are: notes come from browsers."""
    return {file.path: (folder / file.path).read_bytes().decode() for file in in_folder(folder)}


def _lines(folder: Path) -> Iterator[tuple[str, list[list[str]]]]:
    """Of each file the fields of its lines."""
    for file in in_folder(folder):
        text = (folder / file.path).read_text("utf-8")
        yield file.path, [line.split(" ") for line in text.splitlines() if line.strip()]


def _series(folder: Path) -> Iterator[MetricHistory]:
    """Lines are "time value", "time value step", or that with a dataset behind it."""
    for key, lines in _lines(folder):
        history = MetricHistory(key)
        try:
            history.times_ms.extend(int(fields[0]) for fields in lines)
            history.values.extend(float(fields[1]) for fields in lines)
            history.steps.extend(int(fields[2]) if len(fields) > 2 else 0 for fields in lines)
        except (ValueError, IndexError) as error:
            raise errors.DataLost(f"{folder / key} cannot be read: {error}") from None
        yield history


def _measured(folder: Path) -> Iterator[tracking_pb2.ModelMetric]:
    """Lines are "time value step run", and a dataset's name and digest behind it."""
    for key, lines in _lines(folder):
        for fields in lines:
            name, digest = (" ".join(fields[4:-1]), fields[-1]) if len(fields) > 5 else ("", "")
            yield tracking_pb2.ModelMetric(
                key=key,
                value=float(fields[1]),
                step=int(fields[2]),
                time_ms=int(fields[0]),
                run_id=fields[3],
                dataset_name=name,
                dataset_digest=digest,
            )


def _inputs(run: Path) -> tuple[tuple[DatasetInput, ...], tuple[str, ...]]:
    """Datasets and logged models that a run used."""
    datasets: list[DatasetInput] = []
    used: list[str] = []
    root = run / "inputs"
    for each in sorted(root.iterdir()) if root.is_dir() else ():
        meta = _meta(each) or {}
        if meta.get("source_type") == "MODEL":
            used.append(str(meta["source_id"]))
        elif (one := _meta(run.parent / "datasets" / str(meta.get("source_id")))) is not None:
            dataset = Dataset(
                name=str(one["name"]),
                digest=str(one["digest"]),
                source=one.get("source") or "",
                schema=one.get("schema") or "",
                profile=one.get("profile") or "",
                source_type=one.get("source_type") or "",
            )
            tags = {str(key): str(value) for key, value in (meta.get("tags") or {}).items()}
            datasets.append(DatasetInput(dataset, "", tags))
    return tuple(datasets), tuple(used)


def _outputs(run: Path) -> tuple[tuple[str, int], ...]:
    root = run / "outputs"
    found = [_meta(each) or {} for each in sorted(root.iterdir())] if root.is_dir() else []
    return tuple(
        (str(meta["destination_id"]), int(meta.get("step") or 0)) for meta in found if "destination_id" in meta
    )


def _version(folder: Path) -> Version | None:
    meta = _meta(folder)
    if meta is None:
        return None
    return Version(
        number=int(meta["version"]),
        description=str(meta.get("description") or ""),
        user=str(meta.get("user_id") or ""),
        tags=_texts(folder / "tags"),
        stage=str(meta.get("current_stage") or "None"),
        source=str(meta.get("source") or ""),
        storage=str(meta.get("storage_location") or ""),
        run_id=str(meta.get("run_id") or ""),
        run_link=str(meta.get("run_link") or ""),
        create_ms=meta["creation_timestamp"],
        update_ms=meta.get("last_updated_timestamp") or meta["creation_timestamp"],
        model_id=str(meta.get("model_id") or ""),
    )
