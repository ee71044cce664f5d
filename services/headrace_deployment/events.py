"""What the service emits, and what it does about promotions."""

from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import Final

from google.protobuf.message import Message

from headrace.api.deployment.v1 import deployment_events_pb2 as emitted
from headrace.api.registry.v1 import registry_events_pb2 as consumed
from headrace_deployment import messages, rules
from headrace_deployment.records import DeploymentRow, Goal
from headrace_deployment.store import work
from headrace_deployment.store.work import Connection
from headrace_kit import names, outbox, telemetry
from headrace_kit.bus.cloudevents import CloudEvent

PROMOTED: Final = consumed.ModelVersionPromoted.DESCRIPTOR.full_name
ALIAS_DELETED: Final = consumed.ModelAliasDeleted.DESCRIPTOR.full_name
VERSION_CREATED: Final = consumed.ModelVersionCreated.DESCRIPTOR.full_name
CONSUMED: Final = (PROMOTED, ALIAS_DELETED, VERSION_CREATED)


def started(conn: Connection, row: DeploymentRow, serving: int) -> None:
    """Emits DeploymentStarted; `serving` is the version that serves meanwhile."""
    _emit(conn, row, emitted.DeploymentStarted(deployment=messages.deployment(row, serving)))


def serving(conn: Connection, row: DeploymentRow, previous: int) -> None:
    """Emits DeploymentServing."""
    now = messages.deployment(row, row.kept_version)
    _emit(conn, row, emitted.DeploymentServing(deployment=now, previous_version=previous))


def failed(conn: Connection, row: DeploymentRow, serving: int) -> None:
    """Emits DeploymentFailed."""
    _emit(conn, row, emitted.DeploymentFailed(deployment=messages.deployment(row, serving)))


def stopped(conn: Connection, row: DeploymentRow) -> None:
    """Emits DeploymentStopped."""
    _emit(conn, row, emitted.DeploymentStopped(deployment=messages.deployment(row, 0)))


def _emit(conn: Connection, row: DeploymentRow, message: Message) -> None:
    outbox.append_event_sync(conn, outbox.event(names.deployment(*row.key), message))


class Promotions:
    """Follows the aliases that are deployed: what each points to is wanted, and nothing once it is gone.

    The registry tells of deleted and renamed models, and of deleted versions, alias by alias; and events of a model
    come in their order: the last one seen is what counts. `expect` is called when a promotion is likely soon.
    """

    def __init__(
        self,
        aliases: Collection[str],
        expect: Callable[[], None],
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._aliases = frozenset(aliases)
        self._expect = expect
        self._now = now

    def __call__(self, conn: Connection, event: CloudEvent) -> None:
        """Handles one event, in the transaction of its effect."""
        if event.type == VERSION_CREATED:
            self._expect()
        elif event.type == PROMOTED:
            promotion = consumed.ModelVersionPromoted.FromString(event.data)
            if promotion.alias in self._aliases:
                self._promoted(conn, event, promotion)
        else:
            deletion = consumed.ModelAliasDeleted.FromString(event.data)
            self._alias_deleted(conn, event.tenant_id, deletion)

    def _promoted(self, conn: Connection, event: CloudEvent, promotion: consumed.ModelVersionPromoted) -> None:
        now = self._now()
        version = promotion.version
        name = rules.deployment_name(version.model_name, promotion.alias)
        fresh = rules.new_deployment(event.tenant_id, name, version.model_name, promotion.alias, now)
        work.insert(conn, fresh)
        row = work.find(conn, fresh.key) or fresh
        traceparent = telemetry.current_traceparent() or event.traceparent
        work.update(conn, rules.wanted(row, Goal(version.version, version.model_id), traceparent, now))
        work.add_history(conn, row.key, version.version, "promoted", f"to {promotion.alias}", now)
        work.next_generation(conn)

    def _alias_deleted(self, conn: Connection, tenant_id: str, deletion: consumed.ModelAliasDeleted) -> None:
        now = self._now()
        row = work.find(conn, (tenant_id, rules.deployment_name(deletion.model_name, deletion.alias)))
        if row is None or row.wanted is None:
            return
        why = f"the alias {deletion.alias} was deleted"
        work.update(conn, rules.unwanted(row, why, now))
        work.add_history(conn, row.key, row.wanted_version, "stopping", why, now)
        work.next_generation(conn)
