"""What all calls of the tracking service share."""

import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, cast
from uuid import UUID, uuid4

import grpc

from headrace.api.common.v1 import error_reason_pb2
from headrace.api.tracking.v1 import metrics_pb2, tracking_pb2
from headrace.api.tracking.v1.tracking_service_pb2_grpc import TrackingServiceServicer
from headrace_kit.db import Connection, Database
from headrace_kit.errors import DomainError
from headrace_tracking import events, limits, lookup, messages, rules
from headrace_tracking.doors import MetricDoor
from headrace_tracking.purger.emptying import Emptying
from headrace_tracking.readable_names import readable_name
from headrace_tracking.store import experiments, inputs, runs
from headrace_tracking.store.experiments import ExperimentRow
from headrace_tracking.store.runs import RunRow

Context = grpc.aio.ServicerContext[Any, Any]
_READ_SHARE: Final = 0.9  # of the time that a call has left may go to waiting; the read itself needs the rest


class Calls(TrackingServiceServicer):
    """`requests` sees one tenant at a time, `finder` (worker role) finds ids for searches; see `search.finder`.

    `emptying` purges what is in the bin.
    """

    def __init__(
        self,
        requests: Database,
        finder: Database,
        metrics: MetricDoor,
        emptying: Emptying,
        *,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        new_id: Callable[[], UUID] = uuid4,
        new_name: Callable[[], str] = lambda: readable_name(random.choice),
    ) -> None:
        self._db = requests
        self._finder = finder
        self._metrics = metrics
        self._emptying = emptying
        self._now_ms = now_ms
        self._new_id = new_id
        self._new_name = new_name

    async def _ensure_default(self, conn: Connection, tenant_id: str) -> None:
        """Every tenant has experiment 0; it is made when somebody first could see that it is missing."""
        now_ms = self._now_ms()
        if await experiments.insert_default(conn, tenant_id, rules.DEFAULT_EXPERIMENT_NAME, now_ms):
            row = ExperimentRow(rules.DEFAULT_EXPERIMENT, rules.DEFAULT_EXPERIMENT_NAME, {}, now_ms, now_ms)
            await events.experiment_created(conn, tenant_id, row)

    async def _experiment(
        self,
        conn: Connection,
        tenant_id: str,
        experiment_id: int,
        read: Callable[[Connection, int], Awaitable[ExperimentRow | None]] = experiments.find,
    ) -> ExperimentRow:
        """Reads by `read`: `experiments.find` or `lock`. Raises EXPERIMENT_NOT_FOUND."""
        row = await read(conn, experiment_id)
        if row is None and experiment_id == rules.DEFAULT_EXPERIMENT:
            await self._ensure_default(conn, tenant_id)
            row = await read(conn, experiment_id)
        if row is None:
            raise experiment_not_found(f"the id {experiment_id}")
        return row

    async def _free_id(self, conn: Connection, tenant_id: str) -> int:
        """For a new experiment: the next that no imported one has. Others that make one wait for this transaction's end."""
        while True:
            number = await experiments.next_id(conn, tenant_id)
            if await experiments.find(conn, number) is None:
                return number

    async def _visible(self, positions: Sequence[metrics_pb2.Position], context: Context) -> None:
        """Waits for the metrics that a read wants to see; hold no connection while you do."""
        if positions:
            left = cast("float | None", context.time_remaining())  # None without a deadline, whatever the stub says
            await self._metrics.wait_for(positions, None if left is None else max(left * _READ_SHARE, 0.0))

    async def _add_inputs(
        self, conn: Connection, tenant_id: str, run: RunRow, added: Sequence[tracking_pb2.DatasetInput]
    ) -> None:
        """Notes what a run used, and the event; `limits.inputs` has seen them. Raises InvalidField for too much."""
        told = [events.without_contents(one) for one in added]
        limits.inputs_bytes("inputs", sum(one.ByteSize() for one in told), limits.DOCUMENT_BYTES)
        rows = [messages.dataset_row(run.experiment_id, one.dataset) for one in added]
        tags: dict[inputs.DatasetKey, dict[str, str]] = {}
        for row, one in zip(rows, added, strict=True):
            tags.setdefault(row.key, {}).update(one.tags)
        await inputs.insert_datasets(conn, tenant_id, rows)
        await inputs.upsert(conn, tenant_id, run.run_id, tags)
        used = (await inputs.of_runs(conn, [run.run_id])).get(run.run_id, [])
        limits.inputs_bytes("inputs", sum(one.size for one in used), limits.INPUTS_BYTES)
        if told:
            await events.inputs_logged(conn, tenant_id, run, told)

    async def _locked_run(self, conn: Connection, run_id: UUID, *, active: bool = True) -> RunRow:
        """A run for a change. Raises RUN_NOT_FOUND; with `active` NOT_ACTIVE."""
        row = await runs.lock(conn, run_id)
        if row is None:
            raise lookup.run_not_found(run_id)
        if active:
            rules.check_run_active(run_id.hex, deleted=row.delete_ms is not None)
        return row


def experiment_not_found(what: str) -> DomainError:
    """The error of an id or a name that the tenant has no experiment for."""
    return DomainError(error_reason_pb2.ERROR_REASON_EXPERIMENT_NOT_FOUND, f"no experiment has {what}")
