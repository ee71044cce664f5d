"""Deletes the files of runs and logged models that tracking has purged, unless a registered model is made of them."""

import logging
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final, Protocol

import grpc
import psycopg
from typing_extensions import override

from headrace.api.tracking.v1 import tracking_events_pb2 as consumed
from headrace_artifacts import collecting, events
from headrace_artifacts.collecting import Connection, PurgedOwner
from headrace_artifacts.woken import WokenWorker
from headrace_kit.bus.cloudevents import CloudEvent

log = logging.getLogger(__name__)

RUN_PURGED: Final = consumed.RunPurged.DESCRIPTOR.full_name
MODEL_PURGED: Final = consumed.LoggedModelPurged.DESCRIPTOR.full_name
CONSUMED: Final = (RUN_PURGED, MODEL_PURGED)

GROUP: Final = "artifacts"
_OWNERS: Final = 20  # at once
_FILES: Final = 200  # in a transaction
_AGAIN_S: Final = 60.0  # after a failure, or a crash


@dataclass(frozen=True, slots=True)
class Times:
    """How patient the collector is, in seconds."""

    grace: float = 300.0
    """With the files of a model: a version that is being made of it while it goes is there by then."""
    held: float = 86_400.0
    """Before it asks again whether a version that keeps a model's files is still there."""
    remembered: float = 7 * 86_400.0
    """How long uploads for a purged owner are refused: longer than one takes."""


class Uses(Protocol):
    """Who knows what logged models are used for."""

    def use(self, tenant_id: str, model_id: str) -> bool:
        """Whether a version is made of it. Raises RpcError when that cannot be known now."""
        ...

    def close(self) -> None:
        """Ends a call under way."""
        ...


class Purges:
    """Notes the owners that tracking has purged, in the transaction in which the event counts as handled."""

    def __init__(self, times: Times, wake: Callable[[], None]) -> None:
        self._times = times
        self._wake = wake

    def __call__(self, conn: psycopg.Connection[Any], event: CloudEvent) -> None:
        """Handles one event."""
        if event.type == RUN_PURGED:
            collecting.add_owner(conn, event.tenant_id, consumed.RunPurged.FromString(event.data).run_id, 0.0)
        else:
            model_id = consumed.LoggedModelPurged.FromString(event.data).model_id
            collecting.add_owner(conn, event.tenant_id, model_id, self._times.grace)
        self._wake()


class Collector(WokenWorker):
    """Collects when woken, and every five seconds; several processes may. `dsn` must be of a role that sees all tenants.

    Rows go first, in transactions of some hundred, with their events; their blobs go to the sweeper, as those of any
    deleted artifact do.
    """

    def __init__(
        self,
        dsn: str,
        versions: Uses,
        sweep: Callable[[], None],
        times: Times,
        on_death: Callable[[BaseException], None],
    ) -> None:
        super().__init__("artifacts collector", dsn, on_death, "files of purged runs are deleted later")
        self._versions = versions
        self._sweep = sweep
        self._times = times

    @override
    def run(self, stopping: threading.Event) -> None:
        with closing(self._versions):
            super().run(stopping)

    @override
    def work(self, conn: Connection, stopping: threading.Event) -> None:
        while claimed := collecting.claim(conn, _OWNERS, _AGAIN_S):
            for owner in claimed:
                if stopping.is_set():
                    return
                try:
                    self._see_to(conn, owner)
                except grpc.RpcError as error:
                    log.warning("the registry is away, files of %s are looked at later: %s", owner.owner_id, error)

    def _see_to(self, conn: Connection, owner: PurgedOwner) -> None:
        """No transaction is open while the registry is asked."""
        if owner.empty:
            collecting.forget(conn, owner)
        elif owner.owner_id.startswith("m-") and self._versions.use(owner.tenant_id, owner.owner_id):
            collecting.put_off(conn, owner, self._times.held)
        else:
            while self._delete_some(conn, owner):
                self._sweep()
            if not collecting.has_any(conn, owner):  # else somebody has one in hand, and it comes again
                collecting.set_empty(conn, owner, self._times.remembered)

    def _delete_some(self, conn: Connection, owner: PurgedOwner) -> int:
        with conn.transaction():
            rows = collecting.delete_some(conn, owner, _FILES)
            collecting.let_go_blobs(conn, [(row.tenant_id, row.blob_key) for row in rows])
            for row in rows:
                events.deleted_sync(conn, row)
        return len(rows)
