"""What the deployment schema holds, as the code sees it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

DeploymentState = Literal["DEPLOYING", "SERVING", "FAILED", "STOPPED"]
InstanceState = Literal["STARTING", "READY", "DRAINING", "STOPPED", "FAILED"]
What = Literal[
    "promoted",
    "starting",
    "ready",
    "traffic moved",
    "drained",
    "failed",
    "died",
    "superseded",
    "interrupted",
    "adopted",
    "stopping",
    "stopped",
]
"""What may stand in a history."""


@dataclass(frozen=True, slots=True)
class Goal:
    """A version that should have an instance."""

    version: int
    model_id: str


@dataclass(frozen=True, slots=True)
class DeploymentRow:
    """A row of `deployments`."""

    tenant_id: str
    name: str
    model_name: str
    alias: str
    wanted_version: int
    wanted_model_id: str
    kept_version: int
    kept_model_id: str
    state: DeploymentState
    message: str
    attempts: int
    retry_time: datetime | None
    traceparent: str
    create_time: datetime
    update_time: datetime

    @property
    def key(self) -> tuple[str, str]:
        """Tenant and name."""
        return (self.tenant_id, self.name)

    @property
    def wanted(self) -> Goal | None:
        """What the newest promotion asks for."""
        return Goal(self.wanted_version, self.wanted_model_id) if self.wanted_version else None

    @property
    def kept(self) -> Goal | None:
        """What had the traffic last."""
        return Goal(self.kept_version, self.kept_model_id) if self.kept_version else None


@dataclass(frozen=True, slots=True)
class InstanceRow:
    """A row of `instances`."""

    tenant_id: str
    instance_id: str
    deployment_name: str
    version: int
    model_id: str
    state: InstanceState
    message: str
    routed: bool
    address: str
    drain_generation: int
    create_time: datetime
    ready_time: datetime | None
    update_time: datetime

    @property
    def key(self) -> tuple[str, str]:
        """Tenant and name of its deployment."""
        return (self.tenant_id, self.deployment_name)

    @property
    def goal(self) -> Goal:
        """What it serves."""
        return Goal(self.version, self.model_id)


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """A row of `history`."""

    entry_id: int
    time: datetime
    version: int
    what: str
    message: str


@dataclass(frozen=True, slots=True)
class RouteRow:
    """A route as routers get it."""

    tenant_id: str
    deployment_name: str
    version: int
    addresses: list[str]
    traceparent: str
