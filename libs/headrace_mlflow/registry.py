"""What MLflow's own stores do at the gateway, and need to be told only where that is."""

from functools import partial

from mlflow.store.model_registry.rest_store import RestStore
from mlflow.store.workspace.rest_store import RestWorkspaceStore

from headrace_mlflow.server import gateway, host_creds


def registry_store(uri: str) -> RestStore:
    """Registered models, versions, aliases."""
    gateway(uri)  # refuses what is no address
    return RestStore(partial(host_creds, uri))


def workspace_store(uri: str) -> RestWorkspaceStore:
    """Workspaces."""
    gateway(uri)  # as above
    return RestWorkspaceStore(partial(host_creds, uri))
