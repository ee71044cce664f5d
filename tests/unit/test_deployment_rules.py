"""What deployments need next: single cases, and worlds in which anything may happen."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace_deployment import rules
from headrace_deployment.records import DeploymentRow, Goal, InstanceRow, InstanceState
from headrace_deployment.rules import Abandon, Bury, Drain, Rest, Retire, Serve, Start, plan

NOW = datetime(2024, 5, 1, tzinfo=UTC)
ONE, TWO, THREE = Goal(1, "m-1"), Goal(2, "m-2"), Goal(3, "m-3")
FRESH = rules.new_deployment("default", "wine", "wine", "production", NOW)
FIRST = rules.wanted(FRESH, ONE, "", NOW)
SERVING = rules.serving(FIRST, ONE, NOW)


def instance(goal: Goal, state: InstanceState, instance_id: str = "", *, routed: bool = False) -> InstanceRow:
    return InstanceRow(
        tenant_id="default",
        instance_id=instance_id or f"i-{goal.version}",
        deployment_name="wine",
        version=goal.version,
        model_id=goal.model_id,
        state=state,
        message="",
        routed=routed,
        address="",
        drain_generation=0,
        create_time=NOW,
        ready_time=None if state == "STARTING" else NOW,
        update_time=NOW,
    )


OLD = instance(ONE, "READY", routed=True)
NEW = instance(TWO, "STARTING")
READY = instance(TWO, "READY")


@pytest.mark.parametrize(
    ("deployment", "live", "busy", "steps"),
    [
        (FRESH, [], "", []),
        (FIRST, [], "", [Start(ONE)]),
        (FIRST, [instance(ONE, "STARTING")], "i-1", []),
        (FIRST, [instance(ONE, "STARTING")], "", [Abandon(instance(ONE, "STARTING"), interrupted=True)]),
        (FIRST, [instance(ONE, "READY")], "", [Serve(instance(ONE, "READY"))]),
        (SERVING, [OLD], "", []),
        (SERVING, [], "", [Start(ONE)]),
        (rules.wanted(SERVING, TWO, "", NOW), [OLD], "", [Start(TWO)]),
        (rules.wanted(SERVING, TWO, "", NOW), [OLD, NEW], "i-2", []),
        (rules.wanted(SERVING, TWO, "", NOW), [NEW], "i-2", [Start(ONE)]),
        (rules.wanted(SERVING, TWO, "", NOW), [OLD, READY], "", [Serve(READY)]),
        (rules.wanted(SERVING, THREE, "", NOW), [OLD, NEW], "i-2", [Start(THREE), Abandon(NEW, interrupted=False)]),
        (rules.wanted(SERVING, THREE, "", NOW), [OLD, READY], "", [Start(THREE), Retire(READY)]),
        (rules.unwanted(SERVING, "", NOW), [OLD], "", [Retire(OLD)]),
        (rules.unwanted(SERVING, "", NOW), [instance(ONE, "DRAINING")], "", [Drain(instance(ONE, "DRAINING"))]),
        (rules.unwanted(SERVING, "", NOW), [instance(ONE, "DRAINING")], "i-1", []),
        (rules.unwanted(SERVING, "", NOW), [], "", [Rest()]),
        (rules.resting(rules.unwanted(SERVING, "", NOW), NOW), [], "", []),
        # Promoted again after another one failed: it serves already.
        (replace(SERVING, state="DEPLOYING"), [OLD], "", [Serve(OLD)]),
    ],
)
def test_plans(deployment: DeploymentRow, live: list[InstanceRow], busy: str, steps: list[rules.Step]) -> None:
    assert plan(deployment, live, busy={busy}, dead=(), now=NOW) == steps


def test_failure_of_a_new_version_is_final_and_leaves_the_old_one() -> None:
    failed = rules.set_back(rules.wanted(SERVING, TWO, "", NOW), NEW, "burnt", NOW)
    assert (failed.state, failed.message, failed.kept) == ("FAILED", "burnt", ONE)
    assert plan(failed, [OLD], busy=(), dead=(), now=NOW) == []
    assert plan(failed, [], busy=(), dead=(), now=NOW) == [Start(ONE)]
    restarted = instance(ONE, "READY", "i-9")
    assert plan(failed, [restarted], busy=(), dead=(), now=NOW) == [Serve(restarted)]
    assert rules.serving(failed, ONE, NOW).state == "FAILED"
    assert plan(rules.wanted(failed, TWO, "", NOW), [OLD], busy=(), dead=(), now=NOW) == [Start(TWO)]


def test_death_is_followed_by_longer_and_longer_waits() -> None:
    assert plan(SERVING, [OLD], busy=(), dead={"i-1"}, now=NOW) == [Bury(OLD)]
    deployment, waits = SERVING, []
    for _ in range(8):
        deployment = rules.set_back(deployment, OLD, "gone", NOW)
        assert deployment.retry_time is not None
        waits.append((deployment.retry_time - NOW).total_seconds())
        assert plan(deployment, [], busy=(), dead=(), now=NOW) == []
        assert plan(deployment, [], busy=(), dead=(), now=deployment.retry_time) == [Start(ONE)]
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    assert deployment.message == "gone; starting it again in 60 s"
    steady = rules.set_back(deployment, OLD, "gone", NOW + rules.STEADY)
    assert (steady.attempts, steady.retry_time) == (0, NOW + rules.STEADY)
    assert rules.wanted(deployment, TWO, "", NOW).retry_time is None


def test_nothing_follows_from_what_nobody_wants() -> None:
    assert rules.set_back(SERVING, NEW, "superseded", NOW) == SERVING
    stopped = rules.unwanted(SERVING, "", NOW)
    assert rules.set_back(stopped, OLD, "gone", NOW) == stopped
    assert rules.wanted(SERVING, ONE, "t", NOW) == SERVING


@pytest.mark.parametrize(
    ("model", "alias", "name"),
    [
        ("wine", "production", "wine"),
        ("wine", "champion", "wine@champion"),
        ("wine@champion", "production", "wine@champion@production"),
        ("wine@champion", "b", "wine@champion@b"),
    ],
)
def test_names(model: str, alias: str, name: str) -> None:
    assert rules.deployment_name(model, alias) == name


def test_paths_are_urls() -> None:
    assert rules.path("röd wine?@champion") == "/serving/r%C3%B6d%20wine%3F@champion/invocations"


ALIASES = st.text("ab-_", min_size=1, max_size=3) | st.just("production")


@given(st.tuples(st.text("ab@-", min_size=1, max_size=4), ALIASES), st.tuples(st.text("ab@-", min_size=1), ALIASES))
def test_two_deployments_never_have_one_name(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert (rules.deployment_name(*one) == rules.deployment_name(*other)) == (one == other)


@dataclass
class World:
    """One deployment with instances that come up, fail and die; does what the plan says, as the reconciler would."""

    deployment: DeploymentRow = FRESH
    live: dict[str, InstanceRow] = field(default_factory=dict)
    busy: set[str] = field(default_factory=set)
    dead: set[str] = field(default_factory=set)
    broken: set[Goal] = field(default_factory=set)
    now: datetime = NOW
    made: int = 0

    def reconcile(self) -> bool:
        steps = plan(self.deployment, list(self.live.values()), busy=self.busy, dead=self.dead, now=self.now)
        for step in steps:
            self.take(step)
        return bool(steps)

    def take(self, step: rules.Step) -> None:
        match step:
            case Start(goal):
                self.made += 1
                name = f"i-{self.made}"
                self.live[name] = instance(goal, "STARTING", name)
                self.busy.add(name)
            case Serve(chosen):
                for name, row in self.live.items():
                    if row.state == "READY":
                        mine = name == chosen.instance_id
                        self.live[name] = replace(row, routed=mine, state="READY" if mine else "DRAINING")
                self.deployment = rules.serving(self.deployment, chosen.goal, self.now)
            case Retire(row):
                self.live[row.instance_id] = replace(row, routed=False, state="DRAINING")
            case Drain(row):
                self.busy.add(row.instance_id)
            case Abandon(row):
                self.end(row)
            case Bury(row):
                self.end(row)
                self.deployment = rules.set_back(self.deployment, row, "gone", self.now)
            case Rest():
                self.deployment = rules.resting(self.deployment, self.now)

    def end(self, row: InstanceRow) -> None:
        del self.live[row.instance_id]
        self.busy.discard(row.instance_id)
        self.dead.discard(row.instance_id)

    def finish(self, row: InstanceRow) -> None:
        """A task comes to its end."""
        if row.instance_id not in self.busy:
            return
        self.busy.discard(row.instance_id)
        if row.state == "DRAINING":
            self.end(row)
        elif row.goal in self.broken:
            self.end(row)
            self.deployment = rules.set_back(self.deployment, row, "broken", self.now)
        else:
            self.live[row.instance_id] = replace(row, state="READY", ready_time=self.now)

    def settle(self) -> None:
        """Until nothing more happens by itself."""
        for _ in range(200):
            moved = self.reconcile()
            if not moved and not self.busy:
                return
            for row in list(self.live.values()):
                self.finish(row)
            self.now += timedelta(seconds=61)
        raise AssertionError(f"does not come to rest: {self}")


EVENTS = st.one_of(
    st.tuples(st.just("promote"), st.sampled_from([ONE, TWO, THREE])),
    st.tuples(st.sampled_from(["stop", "reconcile", "finish", "die", "crash", "time"]), st.just(ONE)),
)


@given(st.lists(EVENTS, max_size=40), st.sets(st.sampled_from([TWO, THREE])))
def test_whatever_happens_the_newest_that_works_serves_in_the_end(
    happenings: list[tuple[str, Goal]], broken: set[Goal]
) -> None:
    world = World(broken=broken)
    for what, goal in happenings:
        served = [row.goal for row in world.live.values() if row.routed]
        match what:
            case "promote":
                world.deployment = rules.wanted(world.deployment, goal, "", world.now)
            case "stop":
                world.deployment = rules.unwanted(world.deployment, "", world.now)
            case "finish":
                for row in list(world.live.values()):
                    world.finish(row)
            case "die":
                world.dead |= {name for name, row in world.live.items() if row.state == "READY"}
            case "crash":
                world.busy.clear()
            case "time":
                world.now += timedelta(seconds=5)
            case _:
                world.reconcile()
        routed = [row for row in world.live.values() if row.routed]
        assert len(routed) <= 1
        assert all(row.state == "READY" for row in routed)
        if served and what != "reconcile":
            assert [row.goal for row in routed] == served

    world.settle()
    serving = [row.goal for row in world.live.values() if row.routed]
    wanted = world.deployment.wanted
    assert [row.goal for row in world.live.values()] == serving, "something is left that does not serve"
    if wanted is None:
        assert (serving, world.deployment.state) == ([], "STOPPED")
    elif wanted in broken:
        assert world.deployment.state == "FAILED"
        assert serving == ([world.deployment.kept] if world.deployment.kept else [])
    else:
        assert (serving, world.deployment.state) == ([wanted], "SERVING")
