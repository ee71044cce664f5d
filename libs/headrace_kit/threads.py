"""Threads for calls that block, beside an event loop."""

from concurrent.futures import ThreadPoolExecutor


class Threads:
    """A pool that ends with the process's resources: hand it to `Runner.resource`."""

    def __init__(self, most: int, name: str) -> None:
        self.executor = ThreadPoolExecutor(most, thread_name_prefix=name)

    async def open(self) -> None:
        """They start when there is something to do."""

    async def close(self) -> None:
        """The calls have ended; what hangs in a thread is left behind."""
        self.executor.shutdown(wait=False, cancel_futures=True)
