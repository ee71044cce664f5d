"""What is looked for, and the conditions that come with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

from psycopg import sql

from headrace_tracking.search.tables import Scope, Table
from headrace_tracking.search.tree import Filter, Order


class View(Enum):
    """Which of active and deleted rows a search sees."""

    ACTIVE = auto()
    DELETED = auto()
    ALL = auto()


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for.

    For runs alone: `experiment_ids` are the experiments searched, `deleted_ids` those of them that are deleted, and
    all their runs with them. A search for active runs names no deleted experiment.
    """

    table: Table
    tenant_id: str
    view: View
    filter: Filter | None
    orders: Sequence[Order]
    experiment_ids: Sequence[int] | None = None
    deleted_ids: Sequence[int] = ()

    def scope(self) -> Scope:
        """For a new statement."""
        return Scope(self.tenant_id, self.experiment_ids)

    def held(self, scope: Scope) -> sql.Composed:
        """The condition that holds a row to the scope and the view."""
        alias = sql.Identifier(self.table.alias)
        match self.view:
            case View.ALL:
                seen = sql.SQL("true").format()
            case View.ACTIVE:
                seen = sql.SQL("{}.delete_ms IS NULL").format(alias)
            case View.DELETED if not self.deleted_ids:
                seen = sql.SQL("{}.delete_ms IS NOT NULL").format(alias)
            case View.DELETED:
                ids = scope.bind(list(self.deleted_ids), "bigint[]")
                seen = sql.SQL("({a}.delete_ms IS NOT NULL OR {a}.experiment_id = ANY({ids}))").format(a=alias, ids=ids)
        return sql.SQL("{} AND {}").format(scope.holds(self.table.alias), seen)
