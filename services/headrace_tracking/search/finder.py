"""Finds the ids of a search.

The ids are found by the worker role. Under row security PostgreSQL uses an index only for operators that are marked
leakproof, and JSON containment is not, so that a request role would read all runs of an experiment (56 ms instead of
0.2 ms for one param among 300,000 runs). Therefore `find` names the tenant itself, first thing in every condition,
and what it returns is ids and nothing more: the rows behind them are read under row security, as everything else.
"""

from collections.abc import Sequence

from headrace_kit.db import Connection
from headrace_kit.search import finder
from headrace_kit.search.finder import Hit, Place
from headrace_kit.search.request import Search
from headrace_kit.search.statements import Row
from headrace_tracking.search import plans
from headrace_tracking.search.plans import EFFORT, Effort


async def find(conn: Connection, search: Search, after: Place | None, limit: int, effort: Effort = EFFORT) -> list[Hit]:
    """At most `limit` rows behind the place, in order. Raises InvalidField for a place that no row can have."""
    memory = plans.Memory()

    async def read(number: int, place: Sequence[object] | None, left: int) -> list[Row]:
        if memory.matching == limit - left:
            return []
        return await plans.read(conn, search, number, place, left, effort, memory)

    return await finder.find(conn, search, after, limit, read)
