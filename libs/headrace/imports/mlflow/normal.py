"""What MLflow keeps of what a Headrace has: the form in which both sides of an export are compared. No I/O.

MLflow gives its own ids and times. So things are told by Headrace's ids, which their tags name in MLflow, and without the
times that nobody can choose there.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

import numpy as np

from headrace.api.tracking.v1 import tracking_pb2
from headrace.imports.points import Points
from headrace.imports.source import SourceExperiment, SourceModel, SourceRegisteredModel, SourceRun, SourceVersion

RUN: Final = "headrace.run_id"
MODEL: Final = "headrace.model_id"
VERSION: Final = "headrace.version"
_OURS: Final = "headrace."
_VERSIONS: Final = "mlflow.modelVersions"
_MOST: Final = float(np.finfo(np.float64).max)

Ids = Callable[[str], str]
"""From the id that a side has to Headrace's."""


def as_is(id_: str) -> str:
    """For the side that has Headrace's ids."""
    return id_


def experiment(source: SourceExperiment) -> SourceExperiment:
    """Its name and tags."""
    return SourceExperiment(name=source.name, tags=tags(source.tags), deleted=source.deleted, create_ms=0)


def run(source: SourceRun, models: Ids) -> SourceRun:
    """All but ids, which the caller has."""
    return replace(
        source,
        tags=tags(source.tags),
        input_models=tuple(sorted(map(models, source.input_models))),
        output_models=tuple(sorted((models(model_id), step) for model_id, step in source.output_models)),
        delete_ms=None,
    )


def model(source: SourceModel, runs: Ids) -> SourceModel:
    """Without times and user, and without the message of its state: MLflow takes none."""
    return replace(
        source,
        run_id=runs(source.run_id),
        tags=model_tags(source.tags),
        user="",
        state_message="",
        create_ms=0,
        update_ms=0,
        metrics=tuple(_measured(one, runs) for one in source.metrics),
    )


def registered(source: SourceRegisteredModel) -> SourceRegisteredModel:
    """Without times."""
    return replace(source, tags=tags(source.tags), create_ms=0, update_ms=0)


def version(source: SourceVersion, runs: Ids, models: Ids) -> SourceVersion:
    """Without times and user; of one of a logged model, the model stands for the source."""
    model_id = models(source.model_id)
    return replace(
        source,
        tags=tags(source.tags),
        user="",
        run_id=runs(source.run_id),
        model_id=model_id,
        source="" if model_id else source.source,
        made_of=None,
        create_ms=0,
        update_ms=0,
    )


def points(found: Points) -> Points:
    """MLflow keeps infinities as the greatest numbers."""
    return Points(found.steps, found.times, np.clip(found.values, -_MOST, _MOST))


def tags(told: Mapping[str, str]) -> dict[str, str]:
    """But those that name ids."""
    return {key: value for key, value in told.items() if not key.startswith(_OURS)}


def model_tags(told: Mapping[str, str]) -> dict[str, str]:
    """As `tags`, of a logged model; MLflow keeps its own list of the versions made of it."""
    return {key: value for key, value in tags(told).items() if key != _VERSIONS}


def _measured(metric: tracking_pb2.ModelMetric, runs: Ids) -> tracking_pb2.ModelMetric:
    copy = tracking_pb2.ModelMetric()
    copy.CopyFrom(metric)
    copy.value = float(np.clip(metric.value, -_MOST, _MOST))
    copy.run_id = runs(metric.run_id)
    return copy
