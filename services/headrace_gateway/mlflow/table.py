"""Every route of MLflow's that Headrace answers: route → RPCs → who may call it.

A route names the RPCs that its handler calls. Who may call them stands in their .proto, and the service behind checks
it with the credentials of the request: a route without authorization cannot be written down. The few that call none say why.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from headrace_gateway.mlflow import (
    artifacts,
    experiments,
    histories,
    metrics,
    model_history,
    models,
    registered,
    runs,
    server,
    transfers,
    versions,
    webhooks,
    workspaces,
)

Handler: TypeAlias = Callable[..., Awaitable[Any]]
"""(Calls, a `wire.Request` or the HTTP request) → JSON object or HTTP answer."""


@dataclass(frozen=True, slots=True)
class Route:
    """A route; `path` is behind "/api/" or "/ajax-api/", with `{name}` for a part, and `{path}`, `{folder}` or
    `{file}` for all the rest.
    """

    verbs: str
    path: str
    handler: Handler
    rpcs: tuple[str, ...] = ()
    """Names of methods, each with its service: "tracking.GetRun"."""
    open: str = ""
    """Why anyone may call it, where it calls nothing."""
    prefixes: tuple[str, ...] = ("/api/", "/ajax-api/")


_ONLY_UI: Final = ("/ajax-api/",)
_READ: Final = ("artifacts.DownloadArtifact", "artifacts.GetArtifact")
_NOTHING_TOLD: Final = "says what this server can do, which clients ask before they log in"

ROUTES: Final = (
    Route(
        "POST",
        "2.0/mlflow/experiments/create",
        experiments.create,
        ("identity.GetWorkspace", "tracking.CreateExperiment"),
    ),
    Route("GET", "2.0/mlflow/experiments/get", experiments.get, ("tracking.GetExperiment",)),
    Route("GET", "2.0/mlflow/experiments/get-by-name", experiments.get_by_name, ("tracking.GetExperiment",)),
    Route("POST", "2.0/mlflow/experiments/update", experiments.update, ("tracking.UpdateExperiment",)),
    Route("POST", "2.0/mlflow/experiments/delete", experiments.delete, ("tracking.DeleteExperiment",)),
    Route("POST", "2.0/mlflow/experiments/restore", experiments.restore, ("tracking.RestoreExperiment",)),
    Route("GET POST", "2.0/mlflow/experiments/search", experiments.search, ("tracking.SearchExperiments",)),
    Route("POST", "2.0/mlflow/experiments/set-experiment-tag", experiments.set_tag, ("tracking.SetExperimentTags",)),
    Route(
        "POST",
        "2.0/mlflow/experiments/delete-experiment-tag",
        experiments.delete_tag,
        ("tracking.DeleteExperimentTag",),
    ),
    Route(
        "GET POST",
        "2.0/mlflow/experiments/search-datasets",
        experiments.search_datasets,
        ("tracking.SearchDatasets",),
        prefixes=_ONLY_UI,
    ),
    Route("POST", "2.0/mlflow/runs/create", runs.create, ("tracking.CreateRun",)),
    Route("GET", "2.0/mlflow/runs/get", runs.get, ("tracking.GetRun",)),
    Route("POST", "2.0/mlflow/runs/update", runs.update, ("tracking.UpdateRun", "tracking.GetRun")),
    Route("POST", "2.0/mlflow/runs/delete", runs.delete, ("tracking.DeleteRun",)),
    Route("POST", "2.0/mlflow/runs/restore", runs.restore, ("tracking.RestoreRun",)),
    Route("POST", "2.0/mlflow/runs/search", runs.search, ("tracking.SearchRuns",)),
    Route(
        "POST",
        "2.0/mlflow/runs/log-metric",
        metrics.log_metric,
        ("tracking.LogMetrics", "tracking.LogLoggedModelMetrics"),
    ),
    Route("POST", "2.0/mlflow/runs/log-parameter", runs.log_param, ("tracking.LogParams",)),
    Route("POST", "2.0/mlflow/runs/set-tag", runs.set_tag, ("tracking.SetRunTags",)),
    Route("POST", "2.0/mlflow/runs/delete-tag", runs.delete_tag, ("tracking.DeleteRunTag",)),
    Route(
        "POST",
        "2.0/mlflow/runs/log-batch",
        metrics.log_batch,
        (
            "tracking.LogParams",
            "tracking.LogMetrics",
            "tracking.LogLoggedModelMetrics",
            "tracking.SetRunTags",
            "tracking.GetRun",
        ),
    ),
    Route("POST", "2.0/mlflow/runs/log-inputs", runs.log_inputs, ("tracking.LogInputs", "tracking.LogModelUses")),
    Route("POST", "2.0/mlflow/runs/log-model", model_history.log_model, ("tracking.GetRun", "tracking.SetRunTags")),
    Route("POST", "2.0/mlflow/runs/outputs", models.outputs, ("tracking.LogModelUses",)),
    Route(
        "GET",
        "2.0/mlflow/metrics/get-history",
        histories.history,
        ("tracking.ReadMetrics", "tracking.GetMetricHistory"),
    ),
    Route(
        "GET", "2.0/mlflow/metrics/get-history-bulk", histories.bulk, ("tracking.GetMetricHistory",), prefixes=_ONLY_UI
    ),
    Route(
        "GET",
        "2.0/mlflow/metrics/get-history-bulk-interval",
        histories.interval,
        ("tracking.ReadMetrics", "tracking.GetMetricHistory"),
    ),
    Route("POST", "2.0/mlflow/logged-models", models.create, ("tracking.CreateLoggedModel",)),
    Route("POST", "2.0/mlflow/logged-models/search", models.search, ("tracking.SearchLoggedModels",)),
    Route("GET", "2.0/mlflow/logged-models/{model_id}", models.get, ("tracking.GetLoggedModel",)),
    Route("PATCH", "2.0/mlflow/logged-models/{model_id}", models.finalize, ("tracking.FinalizeLoggedModel",)),
    Route("DELETE", "2.0/mlflow/logged-models/{model_id}", models.delete, ("tracking.DeleteLoggedModel",)),
    Route("PATCH", "2.0/mlflow/logged-models/{model_id}/tags", models.set_tags, ("tracking.SetLoggedModelTags",)),
    Route(
        "DELETE",
        "2.0/mlflow/logged-models/{model_id}/tags/{tag_key}",
        models.delete_tag,
        ("tracking.DeleteLoggedModelTag",),
    ),
    Route("POST", "2.0/mlflow/logged-models/{model_id}/params", models.log_params, ("tracking.LogLoggedModelParams",)),
    Route(
        "GET",
        "2.0/mlflow/logged-models/{model_id}/artifacts/directories",
        artifacts.list_of_model,
        ("tracking.GetLoggedModel", "artifacts.ListArtifacts"),
    ),
    Route(
        "GET",
        "2.0/mlflow/logged-models/{model_id}/artifacts/files",
        artifacts.file_of_model,
        _READ,
        prefixes=_ONLY_UI,
    ),
    Route("POST", "2.0/mlflow/registered-models/create", registered.create, ("registry.CreateModel",)),
    Route("POST", "2.0/mlflow/registered-models/rename", registered.rename, ("registry.RenameModel",)),
    Route("PATCH", "2.0/mlflow/registered-models/update", registered.update, ("registry.UpdateModel",)),
    Route("DELETE", "2.0/mlflow/registered-models/delete", registered.delete, ("registry.DeleteModel",)),
    Route("GET", "2.0/mlflow/registered-models/get", registered.get, ("registry.GetModel",)),
    Route("GET", "2.0/mlflow/registered-models/search", registered.search, ("registry.SearchModels",)),
    Route("GET POST", "2.0/mlflow/registered-models/get-latest-versions", registered.latest, ("registry.GetModel",)),
    Route("POST", "2.0/mlflow/registered-models/set-tag", registered.set_tag, ("registry.SetModelTags",)),
    Route("DELETE", "2.0/mlflow/registered-models/delete-tag", registered.delete_tag, ("registry.DeleteModelTag",)),
    Route("POST", "2.0/mlflow/registered-models/alias", registered.set_alias, ("registry.PromoteModelVersion",)),
    Route("GET", "2.0/mlflow/registered-models/alias", registered.get_by_alias, ("registry.GetModelVersion",)),
    Route("DELETE", "2.0/mlflow/registered-models/alias", registered.delete_alias, ("registry.DeleteModelAlias",)),
    Route(
        "POST",
        "2.0/mlflow/model-versions/create",
        versions.create,
        (
            "registry.CreateModelVersion",
            "registry.GetModelVersion",
            "artifacts.GetArtifact",
            "artifacts.ListArtifacts",
            "tracking.CreateLoggedModel",
            "artifacts.DownloadArtifact",
            "artifacts.UploadArtifact",
            "tracking.FinalizeLoggedModel",
        ),
    ),
    Route("PATCH", "2.0/mlflow/model-versions/update", versions.update, ("registry.UpdateModelVersion",)),
    Route(
        "POST", "2.0/mlflow/model-versions/transition-stage", versions.transition, ("registry.SetModelVersionStage",)
    ),
    Route("DELETE", "2.0/mlflow/model-versions/delete", versions.delete, ("registry.DeleteModelVersion",)),
    Route("GET", "2.0/mlflow/model-versions/get", versions.get, ("registry.GetModelVersion",)),
    Route("GET", "2.0/mlflow/model-versions/search", versions.search, ("registry.SearchModelVersions",)),
    Route(
        "GET",
        "2.0/mlflow/model-versions/get-download-uri",
        versions.download_uri,
        ("registry.GetModelVersion", "tracking.GetLoggedModel"),
    ),
    Route("POST", "2.0/mlflow/model-versions/set-tag", versions.set_tag, ("registry.SetModelVersionTags",)),
    Route("DELETE", "2.0/mlflow/model-versions/delete-tag", versions.delete_tag, ("registry.DeleteModelVersionTag",)),
    Route("POST", "2.0/mlflow/webhooks", webhooks.create, ("webhooks.CreateWebhook",)),
    Route("GET", "2.0/mlflow/webhooks", webhooks.find, ("webhooks.ListWebhooks",)),
    Route("GET", "2.0/mlflow/webhooks/{webhook_id}", webhooks.get, ("webhooks.GetWebhook",)),
    Route(
        "PATCH",
        "2.0/mlflow/webhooks/{webhook_id}",
        webhooks.update,
        ("webhooks.UpdateWebhook", "webhooks.GetWebhook"),
    ),
    Route("DELETE", "2.0/mlflow/webhooks/{webhook_id}", webhooks.delete, ("webhooks.DeleteWebhook",)),
    Route("POST", "2.0/mlflow/webhooks/{webhook_id}/test", webhooks.test, ("webhooks.TestWebhook",)),
    Route("GET", "2.0/mlflow/artifacts/list", artifacts.list_of_run, ("tracking.GetRun", "artifacts.ListArtifacts")),
    Route("GET", "2.0/mlflow-artifacts/artifacts", artifacts.list_of_proxy, ("artifacts.ListArtifacts",)),
    Route("GET", "2.0/mlflow-artifacts/artifacts/{path}", artifacts.download, _READ),
    Route("PUT", "2.0/mlflow-artifacts/artifacts/{path}", artifacts.upload, ("artifacts.UploadArtifact",)),
    Route(
        "DELETE",
        "2.0/mlflow-artifacts/artifacts/{path}",
        artifacts.delete,
        ("artifacts.GetArtifact", "artifacts.ListArtifacts", "artifacts.DeleteArtifact"),
    ),
    Route("GET", "get-artifact", artifacts.file_of_run, _READ, prefixes=("/",)),
    Route("GET", "model-versions/get-artifact", versions.file, ("registry.GetModelVersion", *_READ), prefixes=("/",)),
    Route(
        "POST", "2.0/mlflow/upload-artifact", artifacts.upload_of_run, ("artifacts.UploadArtifact",), prefixes=_ONLY_UI
    ),
    Route("POST", "2.0/mlflow-artifacts/mpu/create/{folder}", transfers.create_upload, ("artifacts.StartUpload",)),
    Route(
        "POST", "2.0/mlflow-artifacts/mpu/complete/{folder}", transfers.complete_upload, ("artifacts.CompleteUpload",)
    ),
    Route("POST", "2.0/mlflow-artifacts/mpu/abort/{folder}", transfers.abort_upload, ("artifacts.AbortUpload",)),
    Route("GET", "2.0/mlflow-artifacts/presigned/{file}", transfers.presigned, ("artifacts.SignDownload",)),
    Route("POST", "2.0/mlflow/artifacts/presigned-download-url", transfers.sign_download, ("artifacts.SignDownload",)),
    Route("POST", "2.0/mlflow/artifacts/presigned-upload-url", transfers.sign_upload, ("artifacts.SignUpload",)),
    Route("GET", "3.0/mlflow/workspaces", workspaces.listed, ("identity.ListWorkspaces",)),
    Route("POST", "3.0/mlflow/workspaces", workspaces.create, ("identity.CreateWorkspace",)),
    Route("GET", "3.0/mlflow/workspaces/{name}", workspaces.get, ("identity.GetWorkspace",)),
    Route("PATCH", "3.0/mlflow/workspaces/{name}", workspaces.update, ("identity.UpdateWorkspace",)),
    Route("DELETE", "3.0/mlflow/workspaces/{name}", workspaces.delete, ("identity.DeleteWorkspace",)),
    Route("GET", "3.0/mlflow/server-info", server.info, open=_NOTHING_TOLD),
)
