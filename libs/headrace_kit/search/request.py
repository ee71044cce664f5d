"""What is looked for, and the conditions that come with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import LiteralString

from headrace_kit.search.tables import Scope, Table
from headrace_kit.search.tree import Filter, Order


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

    def held(self, scope: Scope) -> LiteralString:
        """The condition that holds a row to the scope and the view."""
        alias = self.table.alias
        held = scope.holds(alias)
        match self.view:
            case View.ALL:
                return held
            case View.ACTIVE:
                return f"{held} AND {alias}.delete_ms IS NULL"
            case View.DELETED if not self.deleted_ids:
                return f"{held} AND {alias}.delete_ms IS NOT NULL"
            case View.DELETED:
                ids = scope.bind(list(self.deleted_ids), "bigint[]")
                return f"{held} AND ({alias}.delete_ms IS NOT NULL OR {alias}.experiment_id = ANY({ids}))"
