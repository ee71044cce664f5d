"""Who of a group gets which partition: fair to one, and as little moved as that allows."""

from collections.abc import Mapping
from uuid import UUID

from headrace_kit.bus import Partition


def balance(members: Mapping[UUID, frozenset[str]], owners: Mapping[Partition, UUID | None]) -> dict[Partition, UUID]:
    """The owner that each partition should have; partitions of a topic that no member reads are left out.

    `members` says who reads which topics, `owners` who has which partition now (somebody gone counts as nobody).
    The same for every member that computes it. Among members that read the same topics loads differ by one at the
    most, and a partition moves only where that needs it.
    """
    target: dict[Partition, UUID] = {}
    load = dict.fromkeys(sorted(members), 0)

    def readers(partition: Partition) -> list[UUID]:
        return sorted((m for m in load if partition.topic in members[m]), key=lambda member: load[member])

    def give(partition: Partition, member: UUID) -> None:
        target[partition] = member
        load[member] += 1

    ordered = sorted(owners, key=lambda p: (p.topic, p.number))
    for partition in ordered:
        owner = owners[partition]
        if owner is not None and owner in members and partition.topic in members[owner]:
            give(partition, owner)
    for partition in ordered:
        if partition not in target and (eligible := readers(partition)):
            give(partition, eligible[0])
    moved = True
    while moved:  # each move brings two loads closer, so this ends
        moved = False
        for partition, owner in list(target.items()):
            least = readers(partition)[0]
            if load[owner] > load[least] + 1:
                load[owner] -= 1
                give(partition, least)
                moved = True
    return target
