"""The searches for runs, experiments and logged models."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, cast
from uuid import UUID

from headrace.api.tracking.v1 import tracking_pb2
from headrace.api.tracking.v1 import tracking_service_pb2 as pb
from headrace_kit import paging, tenancy
from headrace_kit.db import Connection
from headrace_kit.errors import InvalidField
from headrace_kit.search.finder import Hit, Place
from headrace_kit.search.parser import parse_filter, parse_order
from headrace_kit.search.request import Search, View
from headrace_kit.search.tree import on_datasets
from headrace_tracking import limits, messages, reading
from headrace_tracking.search import finder, tables, vocabulary
from headrace_tracking.service.base import Calls, Context
from headrace_tracking.store import experiments, inputs, models

_MAX_EXPERIMENTS: Final = 1000
_MOST_DATASETS: Final = 20
_MOST_SUMMARIES: Final = 1000
_READ_AT_ONCE: Final = 500  # runs: a page of 50,000 is not read into memory before it is known to fit
_VIEWS: Final = {
    pb.VIEW_TYPE_UNSPECIFIED: View.ACTIVE,
    pb.VIEW_TYPE_ACTIVE_ONLY: View.ACTIVE,
    pb.VIEW_TYPE_DELETED_ONLY: View.DELETED,
    pb.VIEW_TYPE_ALL: View.ALL,
}


class SearchCalls(Calls):
    """SearchRuns, SearchExperiments, SearchLoggedModels and SearchDatasets."""

    async def SearchRuns(self, request: pb.SearchRunsRequest, context: Context) -> pb.SearchRunsResponse:
        size = paging.page_size(request.page_size, default=1000, most=50_000)
        tenant_id, view = tenancy.caller().tenant_id, _view(request.view_type)
        wanted = parse_filter(request.filter, vocabulary.RUNS)
        orders = parse_order(request.order_by, vocabulary.RUNS)
        named = _experiment_ids(request.experiment_ids)
        binding = ("runs", named, request.filter, list(request.order_by), view.name)
        after = paging.decode(request.page_token, binding)
        await self._visible(request.at_least, context)
        async with self._db.tenant(tenant_id) as conn:
            known = await experiments.find_many(conn, named)
        deleted = [row.experiment_id for row in known.values() if row.delete_ms is not None]
        searched = sorted(known.keys() - set(deleted) if view is View.ACTIVE else known.keys())
        if not searched:
            return pb.SearchRunsResponse()
        search = Search(tables.RUNS, tenant_id, view, wanted, orders, searched, deleted)
        hits = await self._hits(search, after, size)
        async with self._db.tenant(search.tenant_id) as conn:
            found = await self._runs(conn, hits[:size])
        return pb.SearchRunsResponse(runs=found, next_page_token=_next(binding, hits, len(found)))

    async def _hits(self, search: Search, after: Place | None, size: int) -> list[Hit]:
        """One more than `size`, where there are more."""
        async with self._finder.tenant(search.tenant_id) as conn:
            return await finder.find(conn, search, after, size + 1)

    async def _runs(self, conn: Connection, hits: Sequence[Hit]) -> list[tracking_pb2.Run]:
        """The first of these runs, as many as fit in a message; one at least."""
        found: list[tracking_pb2.Run] = []
        left = reading.PAGE_BYTES
        for start in range(0, len(hits), _READ_AT_ONCE):
            ids = [cast("UUID", hit.id) for hit in hits[start : start + _READ_AT_ONCE]]
            part = await reading.read_found(conn, ids, left)
            if not found and not part:
                part = await reading.read_found(conn, ids[:1], sys.maxsize)
            found += part
            left -= sum(run.ByteSize() for run in part)
            if len(part) < len(ids):
                break
        return found

    async def SearchExperiments(
        self, request: pb.SearchExperimentsRequest, context: Context
    ) -> pb.SearchExperimentsResponse:
        size = paging.page_size(request.page_size, default=100, most=1000)
        search = Search(
            tables.EXPERIMENTS,
            tenancy.caller().tenant_id,
            _view(request.view_type),
            parse_filter(request.filter, vocabulary.EXPERIMENTS),
            parse_order(request.order_by, vocabulary.EXPERIMENTS),
        )
        binding = ("experiments", request.filter, list(request.order_by), search.view.name)
        after = paging.decode(request.page_token, binding)
        async with self._db.tenant(search.tenant_id) as conn:
            await self._ensure_default(conn, search.tenant_id)
        hits = await self._hits(search, after, size)
        ids = [cast("int", hit.id) for hit in hits[:size]]
        async with self._db.tenant(search.tenant_id) as conn:
            rows = await experiments.find_many(conn, ids)
        found = [messages.experiment(rows[experiment_id]) for experiment_id in ids]
        # An experiment takes at most half a megabyte: one always fits.
        found = found[: reading.fitting((one.ByteSize() for one in found), reading.PAGE_BYTES)]
        return pb.SearchExperimentsResponse(experiments=found, next_page_token=_next(binding, hits, len(found)))

    async def SearchLoggedModels(
        self, request: pb.SearchLoggedModelsRequest, context: Context
    ) -> pb.SearchLoggedModelsResponse:
        size = paging.page_size(request.page_size, default=50, most=1000)
        tenant_id = tenancy.caller().tenant_id
        wanted = parse_filter(request.filter, vocabulary.LOGGED_MODELS)
        datasets = [(one.name, one.digest) for one in request.datasets]
        limits.count("datasets", datasets, _MOST_DATASETS)
        orders = [
            replace(order, field=replace(order.field, dataset=_dataset(asked)))
            for order, asked in zip(
                parse_order([one.order for one in request.order_by], vocabulary.LOGGED_MODELS),
                request.order_by,
                strict=True,
            )
        ]
        named = _experiment_ids(request.experiment_ids)
        told = [[one.order, *(_dataset(one) or ())] for one in request.order_by]
        binding = ("logged models", named, request.filter, datasets, told)
        after = paging.decode(request.page_token, binding)
        async with self._db.tenant(tenant_id) as conn:
            known = await experiments.find_many(conn, named)
        active = sorted(row.experiment_id for row in known.values() if row.delete_ms is None)
        if not active:
            return pb.SearchLoggedModelsResponse()
        on = on_datasets(wanted, datasets) if wanted and datasets else wanted
        search = Search(tables.LOGGED_MODELS, tenant_id, View.ACTIVE, on, orders, active)
        hits = await self._hits(search, after, size)
        ids = [cast("UUID", hit.id) for hit in hits[:size]]
        async with self._db.tenant(tenant_id) as conn:
            rows = await models.find_many(conn, ids)
            measured = await models.measured(conn, ids)
        found = [messages.model(rows[model_id], measured.get(model_id, ())) for model_id in ids]
        # A model takes at most a megabyte, and its metrics no more than their calls: one always fits.
        found = found[: max(1, reading.fitting((one.ByteSize() for one in found), reading.PAGE_BYTES))]
        return pb.SearchLoggedModelsResponse(models=found, next_page_token=_next(binding, hits, len(found)))

    async def SearchDatasets(self, request: pb.SearchDatasetsRequest, context: Context) -> pb.SearchDatasetsResponse:
        size = paging.page_size(request.page_size, default=_MOST_SUMMARIES, most=_MOST_SUMMARIES)
        named = _experiment_ids(request.experiment_ids)
        binding = ("datasets", named)
        after = _used_as(paging.decode(request.page_token, binding))
        async with self._db.tenant(tenancy.caller().tenant_id) as conn:
            rows = await inputs.search(conn, named, after, size + 1)
        found = [
            pb.DatasetSummary(
                experiment_id=str(row.experiment_id), name=row.name, digest=row.digest, context=row.context
            )
            for row in rows[:size]
        ]
        found = found[: max(1, reading.fitting((one.ByteSize() for one in found), reading.PAGE_BYTES))]
        token = paging.encode(binding, list(rows[len(found) - 1])) if len(found) < len(rows) else ""
        return pb.SearchDatasetsResponse(datasets=found, next_page_token=token)


def _used_as(key: Sequence[object] | None) -> inputs.UsedAs | None:
    """What a page begins behind. Raises InvalidField."""
    match key:
        case None:
            return None
        case [int(experiment_id), str(name), str(digest), str(context)] if 0 <= experiment_id < 2**63:
            if not any("\x00" in text for text in (name, digest, context)):
                return inputs.UsedAs(experiment_id, name, digest, context)
    raise paging.invalid_token()


def _dataset(order: pb.LoggedModelOrder) -> tuple[str, str] | None:
    return (order.dataset.name, order.dataset.digest) if order.HasField("dataset") else None


def _next(binding: object, hits: Sequence[Hit], shown: int) -> str:
    """The token of the page behind the hits that are shown."""
    return paging.encode(binding, hits[shown - 1].place) if shown < len(hits) else ""


def _view(view_type: pb.ViewType) -> View:
    if view_type not in _VIEWS:
        raise InvalidField("view_type", f"must be ACTIVE_ONLY, DELETED_ONLY or ALL, got {view_type}")
    return _VIEWS[view_type]


def _experiment_ids(texts: Sequence[str]) -> list[int]:
    if len(texts) > _MAX_EXPERIMENTS:
        raise InvalidField("experiment_ids", f"must be at most {_MAX_EXPERIMENTS:,}, got {len(texts):,}")
    return sorted({limits.experiment_id(f"experiment_ids[{number}]", text) for number, text in enumerate(texts)})
