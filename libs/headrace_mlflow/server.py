"""Which Headrace a URI names, and as whom it is called: by REST and, with the same credentials, by Headrace's client."""

import os
from collections.abc import Mapping
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import MlflowHostCreds
from mlflow.utils.workspace_context import get_request_workspace

from headrace.client import Client
from headrace.connection import DEFAULT_WORKSPACE
from headrace.ingest.settings import IngestSettings

SCHEMES: Final[Mapping[str, str]] = {"headrace": "http", "headraces": "https"}
"""Scheme of the URI → scheme of the gateway."""


def gateway(uri: str) -> str:
    """The gateway's address. Raises MlflowException for a URI that names no host."""
    parts = urlsplit(uri)
    if parts.scheme not in SCHEMES or not parts.hostname:
        raise MlflowException(
            f"{uri!r} names no Headrace: use headrace://host:port of its gateway, or headraces://host:port where that"
            " is reached by https",
            INVALID_PARAMETER_VALUE,
        )
    return f"{SCHEMES[parts.scheme]}://{parts.netloc}{parts.path}".rstrip("/")


def host_creds(uri: str) -> MlflowHostCreds:
    """For MLflow's REST calls: what MLflow's own variables say, else the token in HEADRACE_TOKEN."""
    found = get_default_host_creds(gateway(uri))
    if not (found.token or (found.username and found.password) or found.auth):
        found.token = os.environ.get("HEADRACE_TOKEN") or None
    return found


def workspace() -> str:
    """In which the caller works."""
    return get_request_workspace() or DEFAULT_WORKSPACE


def client(uri: str) -> Client:
    """Headrace's client with the credentials in force now, shared by all who have the same."""
    creds = host_creds(uri)
    token = creds.password if creds.username and creds.password else creds.token
    return _client(gateway(uri), token or "", workspace())


@lru_cache(maxsize=64)
def _client(address: str, token: str, workspace: str) -> Client:
    return Client(address, token, workspace=workspace, ingest=IngestSettings(strict=True))
