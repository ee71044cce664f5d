"""The call that empties the bin."""

from uuid import UUID

from headrace.api.tracking.v1 import tracking_service_pb2 as pb
from headrace_kit import paging, tenancy
from headrace_kit.errors import InvalidField
from headrace_tracking import limits
from headrace_tracking.purger.emptying import Asked
from headrace_tracking.purger.store import Wanted
from headrace_tracking.service.base import Calls, Context


class PurgeCalls(Calls):
    """PurgeBin."""

    async def PurgeBin(self, request: pb.PurgeBinRequest, context: Context) -> pb.PurgeBinResponse:
        wanted = _wanted(tenancy.caller().tenant_id, request)
        binding = ("bin", wanted.deleted_ms, list(request.run_ids), list(request.experiment_ids), request.dry_run)
        asked = Asked(
            wanted,
            _place(request.page_token, binding),
            paging.page_size(request.page_size, default=100, most=100),
            dry_run=request.dry_run,
        )
        emptied = await self._emptying.step(asked)
        token = paging.encode(binding, [emptied.last.hex]) if emptied.last else ""
        return pb.PurgeBinResponse(runs=emptied.runs, experiment_ids=emptied.experiment_ids, next_page_token=token)


def _wanted(tenant_id: str, request: pb.PurgeBinRequest) -> Wanted:
    if not request.HasField("deleted_before"):
        raise InvalidField("deleted_before", "must be set: nothing brings back what is purged")
    limits.count("run_ids", request.run_ids, limits.RUNS_READ)
    limits.count("experiment_ids", request.experiment_ids, limits.RUNS_READ)
    return Wanted(
        tenant_id,
        limits.time_ms("deleted_before", request.deleted_before),
        [limits.run_id(f"run_ids[{at}]", one) for at, one in enumerate(request.run_ids)],
        [limits.experiment_id(f"experiment_ids[{at}]", one) for at, one in enumerate(request.experiment_ids)],
    )


def _place(token: str, binding: object) -> UUID | None:
    match paging.decode(token, binding):
        case None:
            return None
        case [str(run_id)]:
            try:
                return UUID(run_id)
            except ValueError:
                raise paging.invalid_token() from None
        case _:
            raise paging.invalid_token()
