"""Calls that are done together: each gets its own answer, whatever the others asked for."""

import asyncio
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from headrace_kit.together import Together

MOST = 3


class Work:
    """Answers a number with its double, and refuses negative ones; counts groups at the same time for each tenant."""

    def __init__(self) -> None:
        self.groups: list[Sequence[int]] = []
        self._busy: set[str] = set()

    async def __call__(self, tenant_id: str, asked: Sequence[int]) -> list[int]:
        assert tenant_id not in self._busy
        self._busy.add(tenant_id)
        self.groups.append(asked)
        try:
            await asyncio.sleep(0)
            for one in asked:
                if one < 0:
                    raise ValueError(one)
            return [2 * one for one in asked]
        finally:
            self._busy.remove(tenant_id)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(-3, 30), st.integers(0, 3))))
def test_everyone_gets_the_answer_of_his_own_question(calls: list[tuple[str, int, int]]) -> None:
    work = Work()

    async def call(together: Together[int, int], tenant_id: str, asked: int, later: int) -> int | str:
        for _ in range(later):
            await asyncio.sleep(0)
        try:
            return await together(tenant_id, asked)
        except ValueError as error:
            return str(error)

    async def play() -> list[int | str]:
        together = Together(work, most=MOST)
        return await asyncio.gather(*(call(together, *one) for one in calls))

    assert asyncio.run(play()) == [2 * asked if asked >= 0 else str(asked) for _, asked, _ in calls]
    assert all(1 <= len(group) <= MOST for group in work.groups)


async def test_what_comes_meanwhile_is_done_together() -> None:
    work = Work()
    together = Together(work, most=MOST)
    assert await asyncio.gather(*(together("a", number) for number in range(6))) == [0, 2, 4, 6, 8, 10]
    assert work.groups == [[0, 1, 2], [3, 4, 5]]


async def test_one_who_went_away_leaves_the_others() -> None:
    together = Together(Work(), most=MOST)
    first, second, third = (asyncio.ensure_future(together("a", number)) for number in (1, 2, 3))
    await asyncio.sleep(0)
    second.cancel()
    assert (await first, await third) == (2, 6)
    assert await together("a", 4) == 8
