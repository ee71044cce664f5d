"""MLflow's database as a source."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

from headrace import errors
from headrace.api.tracking.v1 import tracking_pb2
from headrace.imports.mlflow import origins
from headrace.imports.mlflow.dialects import Dialect, Row
from headrace.imports.mlflow.entities import (
    DELETED_VERSION,
    Choice,
    experiment_key,
    latest,
    mark,
    model_state,
    run_state,
    texts,
)
from headrace.imports.mlflow.origins import Home, Version
from headrace.imports.mlflow.stores import Stores
from headrace.imports.source import SourceExperiment, SourceFile, SourceModel, SourceRegisteredModel, SourceRun
from headrace.records import Dataset, DatasetInput

_PAGE: Final = 500  # runs
_NEWEST: Final = "dc11669786a5"
"""The alembic revision of MLflow 3.17."""
_NEEDED: Final[Mapping[str, set[str]]] = {
    "experiments": {"experiment_id", "name", "lifecycle_stage"},
    "runs": {"run_uuid", "experiment_id", "status", "start_time", "end_time", "lifecycle_stage", "artifact_uri"},
    "metrics": {"run_uuid", "key", "value", "timestamp", "step", "is_nan"},
    "params": {"run_uuid", "key", "value"},
    "tags": {"run_uuid", "key", "value"},
}


class Database:
    """A source. Raises Unsupported for a schema that lacks what is needed, naming what."""

    def __init__(self, dialect: Dialect, stores: Stores, choice: Choice, note: Callable[[str], None]) -> None:
        self._dialect = dialect
        self._stores = stores
        self._choice = choice
        self._columns = dialect.columns()
        self._check(note)
        self._experiments = {int(row["experiment_id"]): row for row in self._known_experiments(note)}
        self._homes: dict[str, Home] = {}
        self._models: set[str] = set()

    def _check(self, note: Callable[[str], None]) -> None:
        found = list(self._rows("alembic_version", ("version_num",)))
        revision = str(found[0]["version_num"]) if found else ""
        for table, needed in _NEEDED.items():
            if missing := needed - self._columns.get(table, set()):
                raise errors.Unsupported(
                    f"this is no database of MLflow that is known here (alembic revision {revision or 'none'}): table"
                    f" {table} lacks {', '.join(sorted(missing))}. MLflow 1.4 and later can be read; older ones after"
                    " `mlflow db upgrade`"
                )
        known = "MLflow 3.17" if revision == _NEWEST else f"another than MLflow 3.17's, {_NEWEST}"
        note(f"alembic revision {revision or 'none'} ({known})")

    def _known_experiments(self, note: Callable[[str], None]) -> Iterator[Row]:
        columns = ("experiment_id", "name", "lifecycle_stage", "creation_time", "last_update_time", "workspace")
        others: set[str] = set()
        for row in self._rows("experiments", (*columns, "artifact_location"), order="experiment_id"):
            if (row["workspace"] or self._choice.workspace) != self._choice.workspace:
                others.add(row["workspace"])
            elif self._choice.takes(row["name"]):
                yield row
        if others:
            note(f"left out: the workspaces {', '.join(sorted(others))}; --workspace NAME brings one")

    def experiments(self) -> Iterator[SourceExperiment]:
        """Of this workspace."""
        tags = self._entries("experiment_tags", "experiment_id", list(self._experiments))
        for number, row in self._experiments.items():
            yield SourceExperiment(
                name=row["name"],
                wished_id=str(number),
                request_id=experiment_key(str(number), row["creation_time"]),
                tags=tags.get(number, {}),
                create_ms=row["creation_time"],
                update_ms=row["last_update_time"],
                deleted=_deleted(row),
            )

    def runs(self) -> Iterator[SourceRun]:
        """In order of experiment and id."""
        for experiment_id, experiment in self._experiments.items():
            after = ""
            while page := list(self._page(experiment_id, after)):
                after = page[-1]["run_uuid"]
                yield from self._whole(experiment, page)

    def _page(self, experiment_id: int, after: str) -> Iterator[Row]:
        columns = ("run_uuid", "name", "user_id", "status", "start_time", "end_time", "deleted_time", "lifecycle_stage")
        return self._rows(
            "runs",
            (*columns, "artifact_uri"),
            "experiment_id = ? AND run_uuid > ?",
            (experiment_id, after),
            order="run_uuid",
            limit=_PAGE,
        )

    def _whole(self, experiment: Row, page: Sequence[Row]) -> Iterator[SourceRun]:
        ids = [row["run_uuid"] for row in page]
        params, tags = (self._entries(table, "run_uuid", ids) for table in ("params", "tags"))
        inputs, uses, made = self._inputs(ids)
        counts = self._counts(ids)
        for row in page:
            run_id = row["run_uuid"]
            self._homes[run_id] = Home(experiment["name"], self._files(row["artifact_uri"]))
            facts = (row, params.get(run_id), tags.get(run_id), inputs[run_id], uses[run_id], made[run_id])
            yield SourceRun(
                run_id=run_id,
                experiment=experiment["name"],
                name=row["name"] or "",
                user=row["user_id"] or "",
                state=run_state(row["status"]),
                start_ms=row["start_time"] or 0,
                end_ms=row["end_time"],
                params=params.get(run_id, {}),
                tags=tags.get(run_id, {}),
                inputs=tuple(inputs[run_id]),
                series=partial(self._dialect.series, run_id),
                files=partial(self._homes[run_id].files, ""),
                input_models=tuple(uses[run_id]),
                output_models=tuple(made[run_id]),
                deleted=_deleted(row) or _deleted(experiment),
                delete_ms=row["deleted_time"],
                mark=mark(facts, counts.get(run_id)),
            )

    def _files(self, uri: str | None) -> Callable[[str], Iterator[SourceFile]]:
        def below(path: str) -> Iterator[SourceFile]:
            return self._stores.below(uri, path) if uri and self._choice.files else iter(())

        return below

    def _counts(self, run_ids: Sequence[str]) -> Mapping[str, tuple[int, object]]:
        """Of each run how many points it has, and the last time of one."""
        where, values = self._dialect.among("run_uuid", run_ids)
        what = "run_uuid, count(*) AS points, max(timestamp) AS last"
        statement = f"SELECT {what} FROM metrics WHERE {where} GROUP BY run_uuid"  # noqa: S608 - a constant, as below
        return {row["run_uuid"]: (row["points"], row["last"]) for row in self._dialect.rows(statement, values)}

    def _inputs(
        self, run_ids: Sequence[str]
    ) -> tuple[dict[str, list[DatasetInput]], dict[str, list[str]], dict[str, list[tuple[str, int]]]]:
        """Of each run: datasets, logged models that it used, those that it made."""
        datasets: defaultdict[str, list[DatasetInput]] = defaultdict(list)
        used: defaultdict[str, list[str]] = defaultdict(list)
        made: defaultdict[str, list[tuple[str, int]]] = defaultdict(list)
        columns = ("input_uuid", "source_type", "source_id", "destination_type", "destination_id", "step")
        for row in self._of("inputs", columns, "source_id", run_ids, "source_id, destination_id"):
            if row["destination_type"] == "MODEL_INPUT":
                used[row["source_id"]].append(row["destination_id"])
            elif row["destination_type"] == "MODEL_OUTPUT":
                made[row["source_id"]].append((row["destination_id"], row["step"] or 0))
        rows = list(self._of("inputs", columns, "destination_id", run_ids, "destination_id, source_id"))
        rows = [row for row in rows if row["source_type"] == "DATASET"]
        tags = self._entries("input_tags", "input_uuid", [row["input_uuid"] for row in rows], "name", "value")
        known = self._datasets(list({row["source_id"] for row in rows}))
        for row in rows:
            if row["source_id"] in known:
                datasets[row["destination_id"]].append(
                    DatasetInput(known[row["source_id"]], "", tags.get(row["input_uuid"], {}))
                )
        return datasets, used, made

    def _datasets(self, ids: Sequence[str]) -> dict[str, Dataset]:
        columns = ("dataset_uuid", "name", "digest", "dataset_source_type", "dataset_source")
        return {
            row["dataset_uuid"]: Dataset(
                name=row["name"],
                digest=row["digest"],
                source=row["dataset_source"] or "",
                schema=row["dataset_schema"] or "",
                profile=row["dataset_profile"] or "",
                source_type=row["dataset_source_type"] or "",
            )
            for row in self._of("datasets", (*columns, "dataset_schema", "dataset_profile"), "dataset_uuid", ids)
        }

    def models(self) -> Iterator[SourceModel]:
        """In order of experiment and id."""
        columns = ("model_id", "experiment_id", "name", "artifact_location", "creation_timestamp_ms", "status")
        more = ("last_updated_timestamp_ms", "lifecycle_stage", "model_type", "source_run_id", "status_message")
        for number, experiment in self._experiments.items():
            rows = list(
                self._rows("logged_models", (*columns, *more), "experiment_id = ?", (number,), order="model_id")
            )
            for start in range(0, len(rows), _PAGE):
                yield from self._whole_models(experiment, rows[start : start + _PAGE])

    def _whole_models(self, experiment: Row, rows: Sequence[Row]) -> Iterator[SourceModel]:
        ids = [row["model_id"] for row in rows]
        params = self._entries("logged_model_params", "model_id", ids, "param_key", "param_value")
        tags = self._entries("logged_model_tags", "model_id", ids, "tag_key", "tag_value")
        metrics = self._measured(ids)
        for row in rows:
            model_id = row["model_id"]
            self._models.add(model_id)
            run_id = row["source_run_id"] or ""
            yield SourceModel(
                model_id=model_id,
                experiment=experiment["name"],
                run_id=run_id if run_id in self._homes else "",
                name=row["name"],
                model_type=row["model_type"] or "",
                state=model_state(row["status"]),
                state_message=row["status_message"] or "",
                user=tags.get(model_id, {}).get("mlflow.user", ""),
                params=params.get(model_id, {}),
                tags=tags.get(model_id, {}),
                create_ms=row["creation_timestamp_ms"],
                update_ms=row["last_updated_timestamp_ms"],
                metrics=latest(metrics[model_id]),
                files=partial(self._files(row["artifact_location"]), ""),
                deleted=_deleted(row),
                mark=mark(row, params.get(model_id), tags.get(model_id), sorted(map(str, metrics[model_id]))),
            )

    def _measured(self, ids: Sequence[str]) -> Mapping[str, list[tracking_pb2.ModelMetric]]:
        found: defaultdict[str, list[tracking_pb2.ModelMetric]] = defaultdict(list)
        columns = ("model_id", "metric_name", "metric_timestamp_ms", "metric_step", "metric_value", "run_id")
        for row in self._of("logged_model_metrics", (*columns, "dataset_name", "dataset_digest"), "model_id", ids):
            found[row["model_id"]].append(
                tracking_pb2.ModelMetric(
                    key=row["metric_name"],
                    value=float("nan") if row["metric_value"] is None else row["metric_value"],
                    step=row["metric_step"],
                    time_ms=row["metric_timestamp_ms"],
                    run_id=row["run_id"],
                    dataset_name=row["dataset_name"] or "",
                    dataset_digest=row["dataset_digest"] or "",
                )
            )
        return found

    def registered(self) -> Iterator[SourceRegisteredModel]:
        """In order of name; where experiments were named, those with a version that comes from one of them."""
        for row in self._rows(
            "registered_models",
            ("name", "creation_time", "last_updated_time", "description", "workspace"),
            order="name",
        ):
            if (row["workspace"] or self._choice.workspace) == self._choice.workspace:
                yield from self._registered(row)

    def _registered(self, row: Row) -> Iterator[SourceRegisteredModel]:
        name = row["name"]
        rows = list(self._versions(name))
        there = [one for one in rows if one["current_stage"] != DELETED_VERSION]
        tags = self._by_version(name, there)
        told = [_version(one, tags.get(one["version"], {})) for one in there]
        kept = [one for one in told if not self._choice.experiments or self._comes_from_here(one)]
        if self._choice.experiments and not kept:
            return
        numbers = {one.number for one in kept}
        aliases = self._entries("registered_model_aliases", "name", [name], "alias", "version", self._mine())
        yield SourceRegisteredModel(
            name=name,
            description=row["description"] or "",
            tags=self._entries("registered_model_tags", "name", [name], "key", "value", self._mine()).get(name, {}),
            create_ms=row["creation_time"],
            update_ms=row["last_updated_time"] or row["creation_time"],
            last_version=max((int(one["version"]) for one in rows), default=0),
            versions=tuple(origins.version(name, one, self._homes.get, self._models.__contains__) for one in kept),
            aliases={alias: int(at) for alias, at in aliases.get(name, {}).items() if int(at) in numbers},
        )

    def _comes_from_here(self, told: Version) -> bool:
        return told.run_id in self._homes or any(model in f"{told.source} {told.storage}" for model in self._models)

    def _mine(self) -> tuple[tuple[str, object], ...]:
        return (("workspace", self._choice.workspace),)

    def _versions(self, name: str) -> Iterator[Row]:
        columns = ("version", "creation_time", "last_updated_time", "description", "user_id", "current_stage", "source")
        where, values = self._also(("name = ?", (name,)), "model_versions", self._mine())
        more = ("storage_location", "run_id", "run_link")
        return self._rows("model_versions", (*columns, *more), where, values, order="version")

    def _by_version(self, name: str, there: Iterable[Row]) -> dict[int, dict[str, str]]:
        found: defaultdict[int, dict[object, object]] = defaultdict(dict)
        where, values = self._also(("name = ?", (name,)), "model_version_tags", self._mine())
        for row in self._rows("model_version_tags", ("version", "key", "value"), where, values):
            found[row["version"]][row["key"]] = row["value"]
        return {row["version"]: texts(found[row["version"]]) for row in there}

    def _entries(
        self,
        table: str,
        owner: str,
        owners: Sequence[Any],
        key: str = "key",
        value: str = "value",
        also: Sequence[tuple[str, object]] = (),
    ) -> dict[Any, dict[str, str]]:
        """Keys and values of each owner."""
        found: defaultdict[Any, dict[object, object]] = defaultdict(dict)
        for row in self._of(table, (owner, key, value), owner, owners, also=also):
            found[row[owner]][row[key]] = row[value]
        return {one: texts(entries) for one, entries in found.items()}

    def _of(
        self,
        table: str,
        columns: Sequence[str],
        owner: str,
        owners: Sequence[Any],
        order: str = "",
        also: Sequence[tuple[str, object]] = (),
    ) -> Iterator[Row]:
        if not owners:
            return iter(())
        where, values = self._also(self._dialect.among(owner, owners), table, also)
        return self._rows(table, columns, where, values, order=order)

    def _also(
        self, first: tuple[str, Sequence[object]], table: str, also: Sequence[tuple[str, object]]
    ) -> tuple[str, Sequence[object]]:
        """More conditions, on those columns that the table has."""
        where, values = first
        for column, value in also:
            if column in self._columns.get(table, set()):
                where, values = f"{where} AND {column} = ?", (*values, value)
        return where, values

    def _rows(
        self,
        table: str,
        columns: Sequence[str],
        where: str = "",
        values: Sequence[object] = (),
        *,
        order: str = "",
        limit: int = 0,
    ) -> Iterator[Row]:
        """Rows of a table; columns that this schema has not are None, a table that it has not is empty."""
        there = self._columns.get(table, set())
        if not there:
            return iter(())
        asked = ", ".join(column if column in there else f"NULL AS {column}" for column in columns)
        statement = f"SELECT {asked} FROM {table}"  # noqa: S608 - names are constants of this module
        statement += f" WHERE {where}" if where else ""
        statement += f" ORDER BY {order}" if order else ""
        statement += f" LIMIT {limit}" if limit else ""
        return self._dialect.rows(statement, values)


def _deleted(row: Row) -> bool:
    return bool(row["lifecycle_stage"] == "deleted")


def _version(row: Row, tags: Mapping[str, str]) -> Version:
    return Version(
        number=int(row["version"]),
        description=row["description"] or "",
        user=row["user_id"] or "",
        tags=tags,
        stage=row["current_stage"] or "None",
        source=row["source"] or "",
        storage=row["storage_location"] or "",
        run_id=row["run_id"] or "",
        run_link=row["run_link"] or "",
        create_ms=row["creation_time"],
        update_ms=row["last_updated_time"] or row["creation_time"],
    )
