"""What a deployment needs next. Pure: rows and times in, steps out.

The plan is made from how things stand, never from what happened: after a crash it is simply made again.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import quote

from headrace_deployment.records import DeploymentRow, Goal, InstanceRow

PRODUCTION: Final = "production"
STEADY: Final = timedelta(seconds=60)
"""An instance that lived so long is started again at once when it dies; the waits of the one before are forgotten."""

_LONGEST_WAIT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Start:
    """Make an instance and bring it up."""

    goal: Goal


@dataclass(frozen=True, slots=True)
class Serve:
    """Give the traffic to this instance; whatever had it gets drained."""

    instance: InstanceRow


@dataclass(frozen=True, slots=True)
class Retire:
    """Take a ready instance that is not needed out of the routes, to be drained."""

    instance: InstanceRow


@dataclass(frozen=True, slots=True)
class Drain:
    """Go on draining: wait for the routers, let requests end, end the process."""

    instance: InstanceRow


@dataclass(frozen=True, slots=True)
class Abandon:
    """End an instance that never served: something newer is wanted, or nobody brings it up any more."""

    instance: InstanceRow
    interrupted: bool


@dataclass(frozen=True, slots=True)
class Bury:
    """A ready instance has no process any more."""

    instance: InstanceRow


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing is wanted and nothing is left."""


Step = Start | Serve | Retire | Drain | Abandon | Bury | Rest


def plan(
    deployment: DeploymentRow,
    live: Sequence[InstanceRow],
    *,
    busy: Collection[str],
    dead: Collection[str],
    now: datetime,
) -> list[Step]:
    """The steps to take now; none when things stand as they should, or something under way must end first.

    `live` are the instances in STARTING, READY and DRAINING; `busy` those that a task of this process brings up or
    drains, `dead` ready ones whose process has ended.
    """
    buried: list[Step] = [Bury(i) for i in live if i.state == "READY" and i.instance_id in dead]
    if buried:
        return buried
    goals = _goals(deployment)
    return [
        *_starts(deployment, goals, live, now),
        *_serves(deployment, goals, live),
        *_endings(goals, live, busy),
        *_rests(deployment, live),
    ]


def _goals(deployment: DeploymentRow) -> list[Goal]:
    """What should have an instance, the better one first. A version that failed is tried again at a promotion only."""
    if deployment.wanted is None:
        return []
    wanted = None if deployment.state == "FAILED" else deployment.wanted
    return list(dict.fromkeys(goal for goal in (wanted, deployment.kept) if goal))


def _starts(
    deployment: DeploymentRow, goals: Sequence[Goal], live: Sequence[InstanceRow], now: datetime
) -> Iterator[Step]:
    if deployment.retry_time is not None and now < deployment.retry_time:
        return
    there = {i.goal for i in live if i.state in {"STARTING", "READY"}}
    yield from (Start(goal) for goal in goals if goal not in there)


def _serves(deployment: DeploymentRow, goals: Sequence[Goal], live: Sequence[InstanceRow]) -> Iterator[Step]:
    ready = {i.goal: i for i in live if i.state == "READY"}
    best = next((ready[goal] for goal in goals if goal in ready), None)
    if best is not None and (not best.routed or (best.goal == goals[0] and deployment.state == "DEPLOYING")):
        yield Serve(best)


def _endings(goals: Sequence[Goal], live: Sequence[InstanceRow], busy: Collection[str]) -> Iterator[Step]:
    for instance in live:
        under_way = instance.instance_id in busy
        needed = instance.goal in goals
        if instance.state == "DRAINING" and not under_way:
            yield Drain(instance)
        elif instance.state == "STARTING" and not (under_way and needed):
            yield Abandon(instance, interrupted=needed)
        elif instance.state == "READY" and not needed:
            yield Retire(instance)


def _rests(deployment: DeploymentRow, live: Sequence[InstanceRow]) -> Iterator[Step]:
    if deployment.wanted is None and not live and deployment.state != "STOPPED":
        yield Rest()


def wanted(deployment: DeploymentRow, goal: Goal, traceparent: str, now: datetime) -> DeploymentRow:
    """After a promotion. One that changes nothing, of a version that serves, leaves it serving."""
    if deployment.state == "SERVING" and deployment.wanted == goal:
        return deployment
    return replace(
        deployment,
        wanted_version=goal.version,
        wanted_model_id=goal.model_id,
        state="DEPLOYING",
        message="",
        attempts=0,
        retry_time=None,
        traceparent=traceparent,
        update_time=now,
    )


def unwanted(deployment: DeploymentRow, why: str, now: datetime) -> DeploymentRow:
    """After its alias is gone, or somebody stopped it; STOPPED when its last instance has ended."""
    return replace(
        deployment,
        wanted_version=0,
        wanted_model_id="",
        kept_version=0,
        kept_model_id="",
        message=why,
        attempts=0,
        retry_time=None,
        update_time=now,
    )


def serving(deployment: DeploymentRow, goal: Goal, now: datetime) -> DeploymentRow:
    """After `goal` got the traffic. The kept version may get it back while the wanted one is not there, or failed."""
    if goal != deployment.wanted or deployment.state == "FAILED":
        return replace(deployment, update_time=now)
    return replace(
        deployment, kept_version=goal.version, kept_model_id=goal.model_id, state="SERVING", message="", update_time=now
    )


def resting(deployment: DeploymentRow, now: datetime) -> DeploymentRow:
    """After the last instance ended and none is wanted."""
    return replace(deployment, state="STOPPED", update_time=now)


def set_back(deployment: DeploymentRow, instance: InstanceRow, reason: str, now: datetime) -> DeploymentRow:
    """After an instance could not be started, or died.

    One that answered once, or is of the kept version, is started again, later each time. Another one's failure is the
    deployment's, and leaves the kept version where it is. Of an instance that nobody wants any more, nothing follows.
    """
    if instance.goal not in _goals(deployment):
        return deployment
    if instance.state == "STARTING" and instance.goal != deployment.kept:
        return replace(deployment, state="FAILED", message=reason, update_time=now)
    steady = instance.ready_time is not None and now - instance.ready_time >= STEADY
    attempts = 0 if steady else deployment.attempts + 1
    wait = wait_s(attempts)
    failed = deployment.state == "FAILED"
    return replace(
        deployment,
        state="FAILED" if failed else "DEPLOYING",
        message=deployment.message if failed else f"{reason}; {again(wait)}",
        attempts=attempts,
        retry_time=now + timedelta(seconds=wait),
        update_time=now,
    )


def wait_s(attempts: int) -> float:
    """Seconds until the next start: none, then 1, 2, 4, ... 60."""
    return min(_LONGEST_WAIT_S, 2.0 ** (attempts - 1)) if attempts else 0.0


def again(wait: float) -> str:
    """What a message says of it."""
    return f"starting it again in {wait:g} s" if wait else "starting it again"


def deployment_name(model_name: str, alias: str) -> str:
    """The model's name, with "@alias" behind it unless that is "production" and the name has no "@" of its own.

    No alias contains "@", so that two pairs never get the same name.
    """
    return model_name if alias == PRODUCTION and "@" not in model_name else f"{model_name}@{alias}"


def path(name: str) -> str:
    """Where the deployment answers, below the gateway's address."""
    return f"/serving/{quote(name, safe='@')}/invocations"


def new_deployment(tenant_id: str, name: str, model_name: str, alias: str, now: datetime) -> DeploymentRow:
    """A deployment that wants nothing yet."""
    return DeploymentRow(
        tenant_id=tenant_id,
        name=name,
        model_name=model_name,
        alias=alias,
        wanted_version=0,
        wanted_model_id="",
        kept_version=0,
        kept_model_id="",
        state="STOPPED",
        message="",
        attempts=0,
        retry_time=None,
        traceparent="",
        create_time=now,
        update_time=now,
    )
