"""MLflow's plug-in for Headrace: what its entry points name, found by MLflow where both are installed.

With MLFLOW_TRACKING_URI=headrace://host:port, metrics take Headrace's stream and files its artifact service; all else goes
to the gateway's REST interface, as it does with http://host:port. Nothing is imported before a store is asked for: MLflow
loads entry points with its own import, for those too who track elsewhere.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow.store.artifact.artifact_repo import ArtifactRepository
    from mlflow.store.model_registry.rest_store import RestStore
    from mlflow.store.workspace.rest_store import RestWorkspaceStore

    from headrace_mlflow.store import TrackingStore


def tracking_store(store_uri: str, artifact_uri: str | None = None) -> "TrackingStore":  # noqa: ARG001 - MLflow names it
    """Experiments, runs, logged models. Raises MlflowException for a URI that names no host."""
    from headrace_mlflow.store import TrackingStore  # noqa: PLC0415 - the module says why

    return TrackingStore(store_uri)


def registry_store(store_uri: str, tracking_uri: str | None = None) -> "RestStore":  # noqa: ARG001 - MLflow names it
    """Registered models: MLflow's own, at the gateway. Raises as `tracking_store`."""
    from headrace_mlflow.registry import registry_store  # noqa: PLC0415 - the module says why

    return registry_store(store_uri)


def workspace_store(workspace_uri: str) -> "RestWorkspaceStore":
    """Workspaces: MLflow's own, at the gateway. Raises as `tracking_store`."""
    from headrace_mlflow.registry import workspace_store  # noqa: PLC0415 - the module says why

    return workspace_store(workspace_uri)


def artifact_repository(artifact_uri: str, **uris: str | None) -> "ArtifactRepository":
    """Files at a URI of the scheme mlflow-artifacts: Headrace's where one tracks there.

    Elsewhere MLflow's own, made as any version of MLflow makes it: those who only have Headrace installed notice nothing.
    """
    from mlflow.store.artifact.mlflow_artifacts_repo import MlflowArtifactsRepository  # noqa: PLC0415 - the module says why
    from mlflow.tracking import get_tracking_uri  # noqa: PLC0415 - as above

    tracking_uri = uris.get("tracking_uri") or get_tracking_uri()
    if not tracking_uri.startswith(("headrace://", "headraces://")):
        return MlflowArtifactsRepository(artifact_uri, **uris)
    from headrace_mlflow.artifacts import repository  # noqa: PLC0415 - as above

    return repository(artifact_uri, tracking_uri, uris.get("registry_uri"))
