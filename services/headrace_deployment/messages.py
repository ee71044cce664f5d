"""Rows as the contract's messages."""

from collections.abc import Iterable
from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from headrace.api.deployment.v1 import deployment_pb2 as pb
from headrace_deployment import rules
from headrace_deployment.records import DeploymentRow, HistoryRow, InstanceRow, RouteRow


def deployment(row: DeploymentRow, serving_version: int, instances: Iterable[InstanceRow] = ()) -> pb.Deployment:
    """A deployment."""
    return pb.Deployment(
        name=row.name,
        model_name=row.model_name,
        alias=row.alias,
        wanted_version=row.wanted_version,
        serving_version=serving_version,
        state=f"STATE_{row.state}",
        message=row.message,
        path=rules.path(row.name),
        create_time=_time(row.create_time),
        update_time=_time(row.update_time),
        instances=[_instance(i) for i in instances],
    )


def serving_version(instances: Iterable[InstanceRow]) -> int:
    """The version that gets requests; 0 where none does."""
    return next((i.version for i in instances if i.routed), 0)


def entry(row: HistoryRow) -> pb.HistoryEntry:
    """An entry of a history."""
    return pb.HistoryEntry(time=_time(row.time), version=row.version, what=row.what, message=row.message)


def route(row: RouteRow) -> pb.Route:
    """A route."""
    return pb.Route(
        tenant_id=row.tenant_id,
        deployment_name=row.deployment_name,
        version=row.version,
        addresses=row.addresses,
        traceparent=row.traceparent,
    )


def _instance(row: InstanceRow) -> pb.Instance:
    return pb.Instance(
        instance_id=row.instance_id,
        version=row.version,
        state=f"STATE_{row.state}",
        message=row.message,
        address=row.address,
        create_time=_time(row.create_time),
    )


def _time(time: datetime) -> Timestamp:
    message = Timestamp()
    message.FromDatetime(time)
    return message
