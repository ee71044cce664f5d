"""Routes under `3.0/mlflow/workspaces`: workspaces of the caller's tenant, whichever the request itself is in."""

from typing import Any, Final

from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from headrace.api.identity.v1 import identity_pb2
from headrace.api.identity.v1 import identity_service_pb2 as pb
from headrace_gateway.mlflow import failures, wire
from headrace_gateway.mlflow.calls import Calls
from headrace_gateway.mlflow.failures import Failure
from headrace_gateway.mlflow.wire import Answer, Request, Text
from headrace_kit import workspaces
from headrace_kit.errors import InvalidField

_PAGE: Final = 1000
_MODES: Final = ("SET_DEFAULT", "CASCADE", "RESTRICT")


class Nothing(Request):
    """The list's request."""


class ByName(Request):
    """get."""

    name: Text


class Create(Request):
    """create."""

    name: Text
    description: str = ""
    default_artifact_root: str = ""
    trace_archival_config: dict[str, Any] | None = None


class Update(Request):
    """update: what is not given stays as it is."""

    name: Text
    description: str | None = None
    default_artifact_root: str | None = None
    trace_archival_config: dict[str, Any] | None = None


async def listed(calls: Calls, request: Nothing) -> Answer:
    """All, in order of name."""
    del request
    pages = calls.pages(calls.to.identity.ListWorkspaces, pb.ListWorkspacesRequest(page_size=_PAGE))
    return {"workspaces": [shown(one) async for page in pages for one in page.workspaces]}


async def get(calls: Calls, request: ByName) -> Answer:
    """One of them."""
    answer = await calls(calls.to.identity.GetWorkspace, pb.GetWorkspaceRequest(name=_name(request.name)))
    return {"workspace": shown(answer.workspace)}


async def create(calls: Calls, request: Create) -> Response:
    """Status 201, which clients insist on."""
    _without_traces(request.trace_archival_config)
    made = identity_pb2.Workspace(
        name=_name(request.name),
        description=request.description,
        default_artifact_root=request.default_artifact_root,
    )
    try:
        answer = await calls(calls.to.identity.CreateWorkspace, pb.CreateWorkspaceRequest(workspace=made))
    except Failure as failure:
        if failure.reason == "WORKSPACE_EXISTS":
            raise failure.said(f"Workspace '{request.name}' already exists.") from None
        raise
    return Response(wire.encode({"workspace": shown(answer.workspace)}), 201, media_type=wire.JSON)


async def update(calls: Calls, request: Update) -> Answer:
    """The fields that are given."""
    _without_traces(request.trace_archival_config)
    wanted = pb.UpdateWorkspaceRequest(workspace=identity_pb2.Workspace(name=_name(request.name)))
    if request.description is not None:
        wanted.workspace.description = request.description
        wanted.update_mask.paths.append("description")
    if request.default_artifact_root is not None:
        wanted.workspace.default_artifact_root = request.default_artifact_root
        wanted.update_mask.paths.append("default_artifact_root")
    if not wanted.update_mask.paths:
        raise failures.invalid("Workspace update must have at least one key")
    return {"workspace": shown((await calls(calls.to.identity.UpdateWorkspace, wanted)).workspace)}


async def delete(calls: Calls, request: HttpRequest) -> Response:
    """Only an empty one: nothing is moved, and nothing deleted with it."""
    name = _name(request.path_params["name"])
    mode = request.query_params.get("mode", "RESTRICT")
    if mode not in _MODES:
        raise failures.invalid(f"Invalid deletion mode '{mode[:80]}'. Must be one of: {', '.join(_MODES)}")
    if mode != "RESTRICT":
        raise failures.invalid(
            f"Deletion mode '{mode}' is not supported: delete what is in the workspace, empty its bin, then delete it"
            " with mode RESTRICT."
        )
    await calls(calls.to.identity.DeleteWorkspace, pb.DeleteWorkspaceRequest(name=name))
    return Response(status_code=204)


def shown(workspace: identity_pb2.Workspace) -> Answer:
    """The workspace as MLflow has it."""
    return wire.without_empty(
        {
            "name": workspace.name,
            "description": workspace.description,
            "default_artifact_root": workspace.default_artifact_root,
        }
    )


def _name(text: str) -> str:
    """Raises Failure for what can be no name, as MLflow does before it looks for it."""
    try:
        return workspaces.checked(text)
    except InvalidField as error:
        raise failures.invalid(f"Workspace {error.message}") from None


def _without_traces(config: dict[str, Any] | None) -> None:
    if config:
        raise failures.unusable("trace_archival_config", config, "traces are not kept here.")
