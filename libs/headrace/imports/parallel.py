"""Many things at a time."""

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

T = TypeVar("T")


def spread(items: Iterable[T], work: Callable[[T], None], jobs: int) -> None:
    """Does the work on all items, `jobs` at the same time; takes items as they are needed. Raises what the work raises first."""
    with ThreadPoolExecutor(jobs, thread_name_prefix="headrace-import") as pool:
        waiting: set[Future[None]] = set()
        try:
            for item in items:
                waiting.add(pool.submit(work, item))
                if len(waiting) >= 2 * jobs:
                    done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    for one in done:
                        one.result()
            for one in waiting:
                one.result()
        except BaseException:
            for one in waiting:
                one.cancel()
            raise
