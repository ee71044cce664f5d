"""MLflow's tracking store at a Headrace: metrics by its stream, all else by REST.

MLflow promises that what was logged is there when `log_metric` returns. Here it is accepted then, and on its way; this
process sees it all the same, as everything that reads runs, and everything that ends one, waits for it first.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from mlflow.entities import Metric, Param, Run, RunInfo, RunStatus, RunTag
from mlflow.store.entities.paged_list import PagedList
from mlflow.store.tracking.rest_store import RestStore
from mlflow.utils.async_logging.run_operations import RunOperations
from typing_extensions import override

from headrace.client import Client
from headrace_mlflow.failures import as_mlflow
from headrace_mlflow.logs import RunLogs, fields
from headrace_mlflow.server import client, gateway, host_creds, workspace

MOST_METRICS: Final = 1000
"""Of one batch, with the limits of params and tags: REST says what is wrong with a larger one."""
_MOST_OTHERS: Final = 100


class TrackingStore(RestStore):
    """One for each URI and process; threads share it, and so do forked children."""

    def __init__(self, store_uri: str) -> None:
        gateway(store_uri)  # refuses what is no address
        super().__init__(partial(host_creds, store_uri))
        self._uri = store_uri
        self._by_workspace: dict[str, RunLogs] = {}

    @property
    def _logs(self) -> RunLogs:
        """Of the workspace that the caller works in."""
        name = workspace()
        return self._by_workspace.get(name) or self._by_workspace.setdefault(name, RunLogs())

    @override
    def log_metric(self, run_id: str, metric: Metric) -> None:
        if not self._streamed(run_id, fields([metric])):
            super().log_metric(run_id, metric)

    @override
    def log_batch(
        self, run_id: str, metrics: Sequence[Metric], params: Sequence[Param], tags: Sequence[RunTag]
    ) -> None:
        together = len(metrics) + len(params) + len(tags)
        too_large = together > MOST_METRICS or max(len(params), len(tags)) > _MOST_OTHERS
        items = None if too_large else fields(metrics)
        if not items:
            super().log_batch(run_id, metrics, params, tags)
            return
        if params or tags:
            super().log_batch(run_id, [], params, tags)
        if not self._streamed(run_id, items):
            super().log_batch(run_id, metrics, [], [])

    @override
    def log_batch_async(
        self, run_id: str, metrics: Sequence[Metric], params: Sequence[Param], tags: Sequence[RunTag]
    ) -> RunOperations:
        """Metrics are on their way when this returns, not in a queue that is lost with the program."""
        if metrics and self._streamed(run_id, fields(metrics)):
            metrics = []
            if not params and not tags:
                return RunOperations([])
        return super().log_batch_async(run_id, metrics, params, tags)

    @override
    def get_run(self, run_id: str) -> Run:
        self._see([run_id])
        return super().get_run(run_id)

    @override
    def get_metric_history(
        self, run_id: str, metric_key: str, max_results: int | None = None, page_token: str | None = None
    ) -> PagedList[Metric]:
        self._see([run_id])
        return super().get_metric_history(run_id, metric_key, max_results, page_token)

    @override
    def _search_runs(self, *args: Any, **kwargs: Any) -> Any:
        self._see()
        return super()._search_runs(*args, **kwargs)

    @override
    def update_run_info(self, run_id: str, run_status: Any, end_time: Any, run_name: Any) -> RunInfo:
        ends = run_status is not None and RunStatus.is_terminated(run_status)
        try:
            with as_mlflow():
                if ends:
                    self._logs.end(run_id)
        finally:  # the run ends all the same
            info = super().update_run_info(run_id, run_status, end_time, run_name)
        return info

    @override
    def delete_run(self, run_id: str) -> None:
        with as_mlflow():
            self._logs.end(run_id)
        super().delete_run(run_id)

    @override
    def flush_async_logging(self) -> None:
        """Waits until all that was logged is visible, as `mlflow.flush_async_logging` promises of what was logged behind the back."""
        super().flush_async_logging()
        with as_mlflow():
            for logs in list(self._by_workspace.values()):
                logs.see()

    def _streamed(self, run_id: str, items: list[Any] | None) -> bool:
        """Whether the points are on their way; else REST takes them, or says why not."""
        if items is None:
            return False
        with as_mlflow():
            return self._logs.add(run_id, items, self._client)

    def _client(self) -> Client:
        self._validate_workspace_support_if_specified()  # as before each call by REST
        return client(self._uri)

    def _see(self, run_ids: Sequence[str] | None = None) -> None:
        with as_mlflow():
            self._logs.see(run_ids)
