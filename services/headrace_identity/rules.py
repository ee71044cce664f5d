"""What tenants, workspaces and tokens may look like; pure."""

import hashlib
import hmac
import re
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from typing import Final

from headrace.api.common.v1 import access_pb2, error_reason_pb2
from headrace.api.identity.v1 import identity_pb2
from headrace_identity.store import WorkspaceRow
from headrace_kit import workspaces
from headrace_kit.errors import DomainError, InvalidField

_TENANT: Final = re.compile(r"^[a-z][a-z0-9-]{0,62}$")
_GRANTABLE: Final = (access_pb2.ROLE_VIEWER, access_pb2.ROLE_EDITOR, access_pb2.ROLE_ADMIN)
_DESCRIPTION: Final = 5_000
_ROOT: Final = 1_900  # with an experiment's id behind it, a location of 2,048 characters
_ROOT_FORM: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+:|/)[^#;\\\x00-\x20]*")
_CHANGEABLE: Final = ("description", "default_artifact_root")
TOKEN_PREFIX: Final = "hrt_"  # noqa: S105 - a prefix that makes leaked tokens easy to find


def check_tenant_id(tenant_id: str) -> None:
    """Raises InvalidField."""
    if not _TENANT.match(tenant_id):
        raise InvalidField(
            "tenant_id",
            f'must be 1 to 63 lower-case letters, digits and "-", beginning with a letter; got {tenant_id!r}',
        )


def check_token(name: str, role: access_pb2.Role, expire_time: datetime | None, now: datetime) -> None:
    """Raises InvalidField."""
    if not 1 <= len(name) <= 200:
        raise InvalidField("name", f"must be 1 to 200 characters, got {len(name)}")
    if role not in _GRANTABLE:
        raise InvalidField("role", "must be ROLE_VIEWER, ROLE_EDITOR or ROLE_ADMIN")
    if expire_time is not None and expire_time <= now:
        raise InvalidField("expire_time", f"must be in the future, got {expire_time.isoformat()}")


def secret_from(random: bytes) -> str:
    """The token as its holder sees it, from 32 random bytes."""
    return TOKEN_PREFIX + random.hex()


def digest(secret: str, key: str) -> bytes:
    """What is kept of a token."""
    return hmac.digest(key.encode(), secret.encode(), hashlib.sha256)


def default_workspace(tenant_id: str, now: datetime) -> WorkspaceRow:
    """The one that every tenant has."""
    about = "What belongs to no other workspace"
    return WorkspaceRow(tenant_id, workspaces.DEFAULT, about, "", now)


def workspace(asked: identity_pb2.Workspace, tenant_id: str, now: datetime) -> WorkspaceRow:
    """A new one. Raises InvalidField."""
    name = workspaces.checked(asked.name, "workspace.name")
    if name == workspaces.DEFAULT:
        raise InvalidField("workspace.name", f"{name!r} is reserved: this workspace is always there")
    return WorkspaceRow(tenant_id, name, _description(asked), _artifact_root(asked), now)


def workspace_changed(old: WorkspaceRow, asked: identity_pb2.Workspace, paths: Collection[str]) -> WorkspaceRow:
    """With the fields that the mask names. Raises InvalidField."""
    unknown = ", ".join(sorted(set(paths) - set(_CHANGEABLE)))
    if unknown or not paths:
        raise InvalidField("update_mask", f"must name one or more of {', '.join(_CHANGEABLE)}; got {unknown or 'none'}")
    if "description" in paths:
        old = replace(old, description=_description(asked))
    if "default_artifact_root" in paths:
        old = replace(old, default_artifact_root=_artifact_root(asked))
    return old


def deletable(name: str) -> str:
    """The name itself. Raises WRONG_STATE for that of the default workspace."""
    if name == workspaces.DEFAULT:
        raise DomainError(
            error_reason_pb2.ERROR_REASON_WRONG_STATE, f"the workspace {name!r} is reserved and cannot be deleted"
        )
    return name


def _description(asked: identity_pb2.Workspace) -> str:
    if len(asked.description) > _DESCRIPTION or "\x00" in asked.description:
        raise InvalidField("workspace.description", f"must have at most {_DESCRIPTION:,} characters, and no NUL")
    return asked.description


def _artifact_root(asked: identity_pb2.Workspace) -> str:
    root = asked.default_artifact_root.strip()
    if root and (len(root) > _ROOT or not _ROOT_FORM.fullmatch(root)):
        raise InvalidField(
            "workspace.default_artifact_root",
            f"must be a URI, such as s3://bucket/folder, or an absolute path, of at most {_ROOT:,} characters and"
            f" without blanks and fragments; got {root[:80]!r}",
        )
    return root
