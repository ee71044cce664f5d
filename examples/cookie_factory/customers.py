"""Customers of the cookie factory: they keep asking the deployed model, and write down who answered what."""

import itertools
import json
import os
import threading
import urllib.request
from dataclasses import dataclass, field

import pandas as pd


@dataclass
class Customers:
    """A few threads that send rows of `batches` to `url` until `stop`; one more request than asked for is never lost."""

    url: str
    batches: pd.DataFrame
    threads: int = 3
    versions: list[str] = field(default_factory=list)
    """Which version answered, in order of the answers."""
    failures: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _running: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        """Begins to ask."""
        self._running = [threading.Thread(target=self._ask, name=f"customer-{n}") for n in range(self.threads)]
        for thread in self._running:
            thread.start()

    def stop(self) -> None:
        """Waits for the last answers."""
        self._stop.set()
        for thread in self._running:
            thread.join()

    @property
    def sent(self) -> int:
        """Requests sent."""
        return len(self.versions) + len(self.failures)

    def _ask(self) -> None:
        for row in itertools.cycle(range(len(self.batches))):
            if self._stop.wait(0.005):
                return
            try:
                _, version = ask(self.url, self.batches.iloc[[row]])
                self.versions.append(version)
            except OSError as error:
                self.failures.append(str(error))


def ask(url: str, batches: pd.DataFrame) -> tuple[list[int], str]:
    """The qualities that the deployed model tells for these batches, and the version that told them."""
    body = json.dumps({"dataframe_split": batches.to_dict(orient="split", index=False)}).encode()
    headers = {"Content-Type": "application/json"}
    if token := os.environ.get("HEADRACE_TOKEN"):  # as the client does; `headrace up` on this machine needs none
        headers["Authorization"] = f"Bearer {token}"
    request = urllib.request.Request(url, body, headers)  # noqa: S310 - our own server
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        return json.load(answer)["predictions"], answer.headers["x-headrace-model-version"]
