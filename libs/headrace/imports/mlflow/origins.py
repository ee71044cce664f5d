"""Which logged model a version of MLflow's stands for: the one that it names, or one to be made of the files of a run.

As the gateway does it (`headrace_gateway/mlflow/adopting.py`): a version may be deployed from Headrace, and what was
registered stays what it was.
"""

import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from headrace.imports.source import SourceFile, SourceModel, SourceVersion

_MODEL: Final = re.compile(r"(?:models:/|.*/models/)(m-[0-9a-f]{32})(?:/.*)?")
_RUN: Final = re.compile(r"runs:/(?P<run>[0-9a-f]{32})(?:/(?P<path>.*))?")
_OF_RUN: Final = re.compile(r".*/(?P<run>[0-9a-f]{32})/artifacts(?:/(?P<path>.*))?")
_NAME_REFUSED: Final = re.compile(r"[/:.%\"']")
_NAMESPACE: Final = uuid.UUID("6b0c2a53-0e0c-4c5e-8b0e-4a3a8f2d9c11")


@dataclass(frozen=True, slots=True)
class Home:
    """A run that is brought over."""

    experiment: str
    files: Callable[[str], Iterator[SourceFile]]
    """Those below a path of the run, their paths from there on."""


@dataclass(frozen=True, slots=True)
class Version:
    """A version as MLflow tells of it."""

    number: int
    description: str
    user: str
    tags: Mapping[str, str]
    stage: str
    source: str
    storage: str
    """Where its files are, when `source` names them in another way; may be empty."""
    run_id: str
    run_link: str
    create_ms: int
    update_ms: int
    model_id: str = ""


def version(
    name: str, told: Version, home: Callable[[str], Home | None], has_model: Callable[[str], bool]
) -> SourceVersion:
    """The version of the registered model `name`. `home` finds runs; `has_model` knows the logged models brought over."""
    made_of: SourceModel | None = None
    model_id = told.model_id if told.model_id and has_model(told.model_id) else _model_in(told, has_model)
    if not model_id:
        made_of = _made_of_run(name, told, home)
    return SourceVersion(
        number=told.number,
        description=told.description,
        user=told.user,
        tags=told.tags,
        stage=told.stage or "None",
        source=told.source or told.storage or "unknown",
        run_link=told.run_link,
        run_id=told.run_id,
        create_ms=told.create_ms,
        update_ms=told.update_ms,
        model_id=model_id,
        made_of=made_of,
    )


def _model_in(told: Version, has_model: Callable[[str], bool]) -> str:
    for place in (told.source, told.storage):
        if (named := _MODEL.fullmatch(place)) and has_model(named[1]):
            return named[1]
    return ""


def _made_of_run(name: str, told: Version, home: Callable[[str], Home | None]) -> SourceModel | None:
    for place in (told.source, told.storage):
        found = _RUN.fullmatch(place) or _OF_RUN.fullmatch(place)
        if found is None or (run := home(found["run"])) is None:
            continue
        path = (found["path"] or "").strip("/")
        if next(iter(run.files(path)), None) is not None:
            return _made(name, told, found["run"], run, path)
    return None


def _made(name: str, told: Version, run_id: str, run: Home, path: str) -> SourceModel:
    """The same for the same version, however often it is read."""
    model_id = uuid.uuid5(_NAMESPACE, f"{name}/{told.number}/{run_id}/{path}").hex
    return SourceModel(
        model_id=f"m-{model_id}",
        experiment=run.experiment,
        run_id=run_id,
        name=_NAME_REFUSED.sub("_", path.rpartition("/")[2]) or "model",
        model_type="",
        state="READY",
        state_message="",
        user="",
        params={},
        tags={},
        create_ms=told.create_ms,
        update_ms=told.create_ms,
        metrics=(),
        files=lambda: run.files(path),
        mark="made once",
    )
