"""Workspaces: parts of a tenant in which names are apart. Admins make and delete them."""

from dataclasses import dataclass
from datetime import datetime

from google.protobuf.field_mask_pb2 import FieldMask

from headrace.api.identity.v1 import identity_pb2
from headrace.api.identity.v1 import identity_service_pb2 as wire
from headrace.connection import Connection
from headrace.records import time_in


@dataclass(frozen=True, slots=True)
class Workspace:
    """A workspace of the caller's tenant."""

    name: str
    description: str
    default_artifact_root: str
    """Below which experiments that MLflow's clients make keep their files; empty for Headrace's own store."""
    create_time: datetime | None

    @classmethod
    def of(cls, message: identity_pb2.Workspace) -> "Workspace":
        """From the wire."""
        return cls(
            name=message.name,
            description=message.description,
            default_artifact_root=message.default_artifact_root,
            create_time=time_in(message, "create_time"),
        )


class Workspaces:
    """The workspaces of the caller's tenant, whichever of them the client itself is in."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def create(self, name: str, description: str = "") -> Workspace:
        """Makes a workspace. Raises AlreadyExists, and PermissionDenied where the caller is no admin."""
        request = wire.CreateWorkspaceRequest(
            workspace=identity_pb2.Workspace(name=name, description=description),
        )
        answer = self._connection.call(lambda c: c.identity.CreateWorkspace, request, again=False)
        return Workspace.of(answer.workspace)

    def get(self, name: str) -> Workspace:
        """Raises NotFound."""
        answer = self._connection.call(lambda c: c.identity.GetWorkspace, wire.GetWorkspaceRequest(name=name))
        return Workspace.of(answer.workspace)

    def list(self) -> tuple[Workspace, ...]:
        """All of them, in order of name."""
        request = wire.ListWorkspacesRequest(page_size=1_000)
        pages = self._connection.pages(lambda c: c.identity.ListWorkspaces, request)
        return tuple(Workspace.of(each) for page in pages for each in page.workspaces)

    def update(self, name: str, description: str) -> Workspace:
        """Changes the description. Raises NotFound, PermissionDenied."""
        request = wire.UpdateWorkspaceRequest(
            workspace=identity_pb2.Workspace(name=name, description=description),
            update_mask=FieldMask(paths=["description"]),
        )
        return Workspace.of(self._connection.call(lambda c: c.identity.UpdateWorkspace, request).workspace)

    def delete(self, name: str) -> None:
        """Deletes an empty workspace; refused everywhere within two seconds.

        Raises NotFound, PermissionDenied, WrongState while it holds an experiment, a run or a model, also in its bin.
        """
        request = wire.DeleteWorkspaceRequest(name=name)
        self._connection.call(lambda c: c.identity.DeleteWorkspace, request, again=False)
