"""What happens to deployments and instances: each function one change, in the caller's transaction.

All expect that the caller's transaction has locked the deployment; all write the history and call the reconciler.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from headrace_deployment import events, messages, rules
from headrace_deployment.records import DeploymentRow, Goal, InstanceRow, InstanceState, What
from headrace_deployment.store import work
from headrace_deployment.store.work import Connection


def begin(
    conn: Connection,
    deployment: DeploymentRow,
    live: Iterable[InstanceRow],
    goal: Goal,
    instance_id: str,
    now: datetime,
) -> InstanceRow:
    """An instance for `goal` comes into being, to be brought up by whoever called."""
    instance = InstanceRow(
        tenant_id=deployment.tenant_id,
        instance_id=instance_id,
        deployment_name=deployment.name,
        version=goal.version,
        model_id=goal.model_id,
        state="STARTING",
        message="",
        routed=False,
        address="",
        drain_generation=0,
        create_time=now,
        ready_time=None,
        update_time=now,
    )
    work.insert_instance(conn, instance)
    work.forget_old(conn, deployment.key)
    _note(conn, instance, "starting", f"instance {instance_id}", now)
    if goal != deployment.kept:
        events.started(conn, deployment, messages.serving_version(live))
    return instance


def is_wanted(conn: Connection, instance: InstanceRow) -> bool:
    """Whether it is still to be brought up."""
    return _is_still(conn, instance, "STARTING")


def ready(conn: Connection, instance: InstanceRow, address: str, now: datetime) -> bool:
    """It answers at `address`; False when it is not wanted any more, and must be ended."""
    if not is_wanted(conn, instance):
        return False
    work.update_instance(conn, replace(instance, state="READY", address=address, ready_time=now, update_time=now))
    _note(conn, instance, "ready", f"after {(now - instance.create_time).total_seconds():.2f} s", now)
    return True


def serve(
    conn: Connection, deployment: DeploymentRow, live: Sequence[InstanceRow], instance: InstanceRow, now: datetime
) -> DeploymentRow:
    """`instance` gets the traffic; every other ready one is to be drained."""
    generation = work.next_generation(conn)
    previous = messages.serving_version(live)
    for other in live:
        if other.state == "READY" and other.instance_id != instance.instance_id:
            _drain(conn, other, generation, now)
    work.update_instance(conn, replace(instance, routed=True, update_time=now))
    after = rules.serving(deployment, instance.goal, now)
    work.update(conn, after)
    if not instance.routed:
        _note(conn, instance, "traffic moved", f"from version {previous}" if previous else "", now)
    if after.state == "SERVING":
        events.serving(conn, after, previous)
    return after


def retire(conn: Connection, instance: InstanceRow, now: datetime) -> None:
    """The instance is to be drained, and nothing takes its place."""
    _drain(conn, instance, work.next_generation(conn), now)
    _note(conn, instance, "stopping", "", now)


def abandon(conn: Connection, instance: InstanceRow, now: datetime, *, interrupted: bool) -> None:
    """The instance will never serve."""
    what: What = "interrupted" if interrupted else "superseded"
    work.update_instance(conn, replace(instance, state="STOPPED", message=what, update_time=now))
    _note(conn, instance, what, "the service stopped while it started" if interrupted else "", now)


def drained(conn: Connection, instance: InstanceRow, message: str, now: datetime) -> None:
    """Its process has ended, as it should."""
    if _is_still(conn, instance, "DRAINING"):
        work.update_instance(conn, replace(instance, state="STOPPED", message=message, update_time=now))
        _note(conn, instance, "drained", message, now)


def not_started(conn: Connection, instance: InstanceRow, reason: str, now: datetime) -> None:
    """It could not be started, unless it was abandoned meanwhile."""
    if is_wanted(conn, instance):
        _set_back(conn, instance, "failed", reason, now)


def died(conn: Connection, instance: InstanceRow, reason: str, now: datetime) -> None:
    """A ready instance has no process any more."""
    _set_back(conn, instance, "died", reason, now)


def rest(conn: Connection, deployment: DeploymentRow, now: datetime) -> None:
    """The deployment has come to rest."""
    after = rules.resting(deployment, now)
    work.update(conn, after)
    work.next_generation(conn)
    work.add_history(conn, deployment.key, 0, "stopped", deployment.message, now)
    events.stopped(conn, after)


def adopted(conn: Connection, instance: InstanceRow, now: datetime) -> None:
    """The service came back and found it running."""
    _note(conn, instance, "adopted", f"instance {instance.instance_id} went on without the service", now)


def paused(conn: Connection, instance: InstanceRow, now: datetime) -> None:
    """It was ended with the service, and another one starts when the service does."""
    deployment = work.find(conn, instance.key)
    message = "Headrace stopped; it starts again with it"
    if deployment is not None and deployment.state == "SERVING":
        work.update(conn, replace(deployment, state="DEPLOYING", message=message, update_time=now))
    work.update_instance(conn, replace(instance, state="STOPPED", routed=False, message=message, update_time=now))
    work.next_generation(conn)
    _note(conn, instance, "stopped", message, now)


def _set_back(conn: Connection, instance: InstanceRow, what: What, reason: str, now: datetime) -> None:
    deployment = work.find(conn, instance.key)
    work.update_instance(conn, replace(instance, state="FAILED", routed=False, message=reason, update_time=now))
    if deployment is None:
        return
    after = rules.set_back(deployment, instance, reason, now)
    work.update(conn, after)
    work.next_generation(conn)
    again = f"; {rules.again(rules.wait_s(after.attempts))}" if after.retry_time != deployment.retry_time else ""
    _note(conn, instance, what, reason + again, now)
    if after.state == "FAILED" and deployment.state != "FAILED":
        events.failed(conn, after, messages.serving_version(work.live_of(conn, instance.key)))


def _drain(conn: Connection, instance: InstanceRow, generation: int, now: datetime) -> None:
    changed = replace(instance, state="DRAINING", routed=False, drain_generation=generation, update_time=now)
    work.update_instance(conn, changed)


def _is_still(conn: Connection, instance: InstanceRow, state: InstanceState) -> bool:
    """Locks the deployment, as all who change its instances do, and looks again."""
    work.find(conn, instance.key)
    return any(i.instance_id == instance.instance_id and i.state == state for i in work.live_of(conn, instance.key))


def _note(conn: Connection, instance: InstanceRow, what: What, message: str, now: datetime) -> None:
    work.add_history(conn, instance.key, instance.version, what, message, now)
