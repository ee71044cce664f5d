"""Who is calling: the tenant and role of the request under way."""

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from headrace.api.common.v1.access_pb2 import Role

DEFAULT_TENANT: Final = "default"
"""The tenant of an embedded Headrace without tokens."""


@dataclass(frozen=True, slots=True)
class Caller:
    """What the credentials of a request say."""

    tenant_id: str
    """Whose resources it sees; of a call that names a workspace, as `workspaces.within` says."""
    role: Role
    token_id: str = ""


_current: ContextVar[Caller] = ContextVar("headrace_caller")


def caller() -> Caller:
    """The caller of the request under way. LookupError outside of one: `rpc.Edge` sets it for every method."""
    return _current.get()


def set_caller(who: Caller) -> None:
    """For `rpc.Edge` alone: the caller of everything that this task does from now on."""
    _current.set(who)
