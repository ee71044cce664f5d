"""Group commit: what is asked for at the same time is done together."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")


class Together(Generic[Q, A]):
    """Does what comes for one tenant in groups: while one is under way, the next gathers.

    `work(tenant_id, asked)` does a group, all of it or nothing, and answers in its order; it runs in the context of
    none of those who asked. Where it raises, each is done alone, so that nobody hears of another's mistake. Alone, a
    call waits for nothing; among many it shares transaction, round trips and flush with up to `most` others.
    """

    def __init__(self, work: Callable[[str, Sequence[Q]], Awaitable[Sequence[A]]], *, most: int) -> None:
        self._work = work
        self._most = most
        self._waiting: dict[str, deque[tuple[Q, asyncio.Future[A]]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def __call__(self, tenant_id: str, asked: Q) -> A:
        """The answer. Raises what `work` raises for this alone."""
        future: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        if tenant_id in self._waiting:
            self._waiting[tenant_id].append((asked, future))
        else:
            self._waiting[tenant_id] = deque([(asked, future)])
            task = asyncio.create_task(self._serve(tenant_id))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await future

    async def _serve(self, tenant_id: str) -> None:
        waiting = self._waiting[tenant_id]
        while waiting:
            group = [waiting.popleft() for _ in range(min(len(waiting), self._most))]
            if not await self._done(tenant_id, group):
                for one in group:
                    await self._done(tenant_id, [one])
        del self._waiting[tenant_id]

    async def _done(self, tenant_id: str, group: Sequence[tuple[Q, asyncio.Future[A]]]) -> bool:
        """False where it failed, and each of the group is to be done alone."""
        try:
            answers = await self._work(tenant_id, [asked for asked, _ in group])
        except Exception as error:  # noqa: BLE001 - whatever it is, it is for those who asked
            if len(group) > 1:
                return False
            ((_, future),) = group
            if not future.done():  # who asked may be gone
                future.set_exception(error)
            return True
        for (_, future), answer in zip(group, answers, strict=True):
            if not future.done():
                future.set_result(answer)
        return True
