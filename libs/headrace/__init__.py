"""Headrace for Python: logs runs, registers and promotes models, asks for what is there, listens to what happens.

    import headrace as hr

    with hr.start_run(experiment="cookies") as run:
        run.log_params({"sugar": 0.8})
        for step in range(100):
            run.log({"loss": 1 / (step + 1)}, step=step)

The functions use a client made with the first call, for the Headrace that HEADRACE_URI names (or http://127.0.0.1:8080);
`connect` chooses another. Importing this module imports nothing else: each name brings what it needs when it is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    __version__: str
    from headrace import deployments, errors, events, models, registry
    from headrace.artifacts import download_artifacts
    from headrace.charts import MetricChart
    from headrace.client import (
        Client,
        export_metrics,
        get_experiment,
        get_run,
        metric_charts,
        metric_histories,
        metric_history,
        search_experiments,
        search_runs,
        set_experiment,
        start_run,
        watch_metrics,
        watch_run,
    )
    from headrace.datasets import dataset_from
    from headrace.default import connect
    from headrace.events import Event, Subscription
    from headrace.ingest.settings import IngestSettings
    from headrace.models import Signature, infer_signature
    from headrace.records import (
        Artifact,
        Dataset,
        Deployment,
        Experiment,
        LoggedModel,
        MetricHistory,
        MetricUpdate,
        ModelVersion,
        Promotion,
        RegisteredModel,
        Run,
    )
    from headrace.registry import promote, register_model
    from headrace.runs import ActiveRun
    from headrace.tables import RunTable

__all__ = [
    "ActiveRun",
    "Artifact",
    "Client",
    "Dataset",
    "Deployment",
    "Event",
    "Experiment",
    "IngestSettings",
    "LoggedModel",
    "MetricChart",
    "MetricHistory",
    "MetricUpdate",
    "ModelVersion",
    "Promotion",
    "RegisteredModel",
    "Run",
    "RunTable",
    "Signature",
    "Subscription",
    "connect",
    "dataset_from",
    "deployments",
    "download_artifacts",
    "errors",
    "events",
    "export_metrics",
    "get_experiment",
    "get_run",
    "infer_signature",
    "metric_charts",
    "metric_histories",
    "metric_history",
    "models",
    "promote",
    "register_model",
    "registry",
    "search_experiments",
    "search_runs",
    "set_experiment",
    "start_run",
    "watch_metrics",
    "watch_run",
]

if not TYPE_CHECKING:  # type checkers know the names from above, and would take any name from this
    _HOMES = {
        "artifacts": ("download_artifacts",),
        "charts": ("MetricChart",),
        "client": (
            "Client",
            "export_metrics",
            "get_experiment",
            "get_run",
            "metric_charts",
            "metric_histories",
            "metric_history",
            "search_experiments",
            "search_runs",
            "set_experiment",
            "start_run",
            "watch_metrics",
            "watch_run",
        ),
        "datasets": ("dataset_from",),
        "default": ("connect",),
        "events": ("Event", "Subscription"),
        "ingest.settings": ("IngestSettings",),
        "models": ("Signature", "infer_signature"),
        "records": (
            "Artifact",
            "Dataset",
            "Deployment",
            "Experiment",
            "LoggedModel",
            "MetricHistory",
            "MetricUpdate",
            "MetricUpdate",
            "ModelVersion",
            "Promotion",
            "RegisteredModel",
            "Run",
        ),
        "registry": ("promote", "register_model"),
        "runs": ("ActiveRun",),
        "tables": ("RunTable",),
    }
    _MODULES = ("deployments", "errors", "events", "models", "registry")

    def __getattr__(name: str) -> object:
        """Imports what a public name stands for, when it is used."""
        if name in _MODULES:
            return import_module(f"{__name__}.{name}")
        if name == "__version__":
            return import_module(f"{__name__}.versions").version()
        for home, names in _HOMES.items():
            if name in names:
                found = getattr(import_module(f"{__name__}.{home}"), name)
                globals()[name] = found
                return found
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted(__all__)
