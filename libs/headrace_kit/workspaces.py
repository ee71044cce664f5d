"""Workspaces: parts of a tenant in which names are apart. To the services each of them is a tenant of its own.

Row security, unique names, the keys of events and blobs, routes: what keeps tenants apart keeps workspaces apart.
Only here is known how the id of such a tenant is made. Ids of tenants and names of workspaces hold no ".".
"""

import re
from typing import Final

from headrace_kit.errors import InvalidField

DEFAULT: Final = "default"
"""The workspace of whoever names none: the tenant itself."""

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,61}[a-z0-9]")
_RESERVED: Final = frozenset({"workspaces", "api", "ajax-api", "static-files"})
"""Parts of paths where a name stands; so MLflow has it."""


def checked(name: str, field: str = "name") -> str:
    """The name itself. Raises InvalidField for what can be no workspace's."""
    if not _NAME.fullmatch(name):
        raise InvalidField(
            field, f'must be 2 to 63 lower-case letters, digits and "-", with no "-" at either end; got {name[:80]!r}'
        )
    if name in _RESERVED:
        raise InvalidField(field, f"must not be {name!r}, which is reserved")
    return name


def within(tenant_id: str, workspace: str) -> str:
    """The tenant that a workspace is to the services."""
    return tenant_id if workspace == DEFAULT else f"{tenant_id}.{workspace}"


def split(tenant_id: str) -> tuple[str, str]:
    """Tenant and workspace: the inverse of `within`."""
    tenant, _, workspace = tenant_id.partition(".")
    return tenant, workspace or DEFAULT
