"""Plays seeded schedules of faults under load, and counts: points acknowledged, lost, doubled. `make faults` runs it.

    python tests/faults/run.py --count 500 --seed 1 --jobs 2

Every schedule is made from its seed alone: `--seed S --count 1` plays schedule S again. So many jobs play at the same
time, each on a place of its own. Ctrl-C ends the play when the schedules under way are over, with the totals until then,
and says with which seed to go on.
"""

import argparse
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, Final

from faults.check import spooled
from faults.judge import WRONG, Judge, Totals, open_judge
from faults.place import Place, open_place
from faults.processes import Client, Died, Process
from faults.schedule import MOST, Fault, draw

CLIENTS: Final = 3
_SYNC_S: Final = 120


class Seeds:
    """Hands each out once, to several plays at the same time."""

    def __init__(self, seeds: Iterable[int]) -> None:
        self._left = deque(seeds)

    def __iter__(self) -> Iterator[int]:
        while self._left:
            try:
                yield self._left.popleft()
            except IndexError:  # another play had the last one
                return

    def end(self) -> list[int]:
        """Hands out no more; those that are left."""
        return list(iter(self))


class Play:
    """Plays schedules, one after the other, on one place."""

    def __init__(self, place: Place, judge: Judge, hands: ThreadPoolExecutor, say: Callable[[str], None]) -> None:
        """`hands` do the faults, so that a process that drains does not keep another one frozen.

        They must outlive the place: what a thread has started dies with it.
        """
        self.totals = Totals()
        self._place = place
        self._judge = judge
        self._hands = hands
        self._say = say
        self._clients = [Client(place.uri, place.folder, f"client-{number}") for number in range(CLIENTS)]
        self._records: list[Path] = []

    def play(self, seeds: Iterable[int]) -> None:
        """Plays these."""
        try:
            for seed in seeds:
                began = time.monotonic()
                records = self._play_one(seed)
                self._judge.give(records)
                self._records += records
                self.totals.schedules += 1
                self._say(f"seed {seed}, {time.monotonic() - began:.1f} s: {_told(seed)}")
                for verdict in self._judge.verdicts(wait=False):
                    self._look_at(verdict)
        finally:
            for client in self._clients:
                client.kill()

    def finish(self) -> None:
        """Judges everything once more: a frame that was written a second time may come late."""
        self._place.wait_ready()
        for verdict in self._judge.verdicts(wait=True):
            self._look_at(verdict)
        self._judge.give(self._records)
        for verdict in self._calm_verdicts():
            self.totals.points.update({name: n for name, n in verdict.items() if isinstance(n, int)})

    def _play_one(self, seed: int) -> list[Path]:
        records = [self._place.folder / f"{seed}-{number}.record" for number in range(CLIENTS)]
        faults = draw(seed)
        try:
            for number, client in enumerate(self._clients):
                client.play(records[number], seed * CLIENTS + number)
            for client in self._clients:
                client.wait_ready()
            _do(faults, {**self._place.processes, "client": self._clients[seed % CLIENTS]}, self._hands)
            self._place.wait_ready()
            for client in self._clients:
                client.finish()
                if client.killed:
                    _sync(client)
        except Died as death:
            self._fail(seed, str(death))
            self._place.restart()
        return records

    def _look_at(self, verdict: dict[str, Any]) -> None:
        """Of what does not show while faults go on, lost is what does not when they rest."""
        if not _wrong(verdict):
            return
        self._place.wait_ready()
        self._judge.give([self._place.folder / verdict["record"]])
        self.totals.late += not any(map(_wrong, self._calm_verdicts()))

    def _calm_verdicts(self) -> list[dict[str, Any]]:
        """All that are to come, while no faults go on: a wrong one is a failure."""
        verdicts = list(self._judge.verdicts(wait=True))
        for verdict in filter(_wrong, verdicts):
            self._fail(int(verdict["record"].split("-")[0]), str(verdict))
        return verdicts

    def _fail(self, seed: int, how: str) -> None:
        self.totals.failures.append(f"seed {seed} ({_told(seed)}): {how}")
        self._say(self.totals.failures[-1])


def play_all(seeds: Iterable[int], folder: Path, say: Callable[[str], None], jobs: int = 1) -> Totals:
    """Plays them all on so many places; says every failing seed with its schedule. Ctrl-C ends it early."""
    left = Seeds(seeds)
    with ThreadPoolExecutor(jobs) as pool:
        plays = [pool.submit(_play, left, folder / f"place-{number}", say) for number in range(jobs)]
        try:
            wait(plays, return_when=FIRST_EXCEPTION)
        except KeyboardInterrupt:
            say("interrupted; waiting for the schedules under way")
            if rest := left.end():
                say(f"go on with: make faults SEED={rest[0]} COUNT={len(rest)}")
        finally:
            left.end()
    return sum((play.result() for play in plays), Totals())


def _play(seeds: Seeds, folder: Path, say: Callable[[str], None]) -> Totals:
    folder.mkdir()
    with ThreadPoolExecutor(MOST) as hands, open_place(folder) as place, open_judge(place.uri, folder) as judge:
        play = Play(place, judge, hands, say)
        play.play(seeds)
        play.finish()
        return play.totals


def _wrong(verdict: dict[str, Any]) -> bool:
    return any(verdict[name] for name in WRONG)


def _told(seed: int) -> str:
    return "; ".join(map(str, draw(seed)))


def _do(faults: list[Fault], processes: dict[str, Process], hands: ThreadPoolExecutor) -> None:
    began = time.monotonic()

    def do(fault: Fault) -> None:
        process = processes[fault.target]
        end = process.resume if fault.kind == "pause" else process.launch
        for at_s, step in ((fault.at_s, getattr(process, fault.kind)), (fault.at_s + fault.for_s, end)):
            time.sleep(max(0.0, began + at_s - time.monotonic()))
            step()

    for done in [hands.submit(do, fault) for fault in faults]:
        done.result()


def _sync(client: Client) -> None:
    """What it left in its spool must show too, once `headrace sync` has sent it."""
    files = list(client.spool.glob("*.spool"))
    for path in files:
        with client.record.open("a") as record:
            record.writelines(f"SPOOLED {key} {count}\n" for key, count in spooled(path).items())
    if not files:
        return
    command = [sys.executable, "-c", "import sys; from headrace.cli import main; sys.exit(main())"]
    done = subprocess.run(
        [*command, "sync", "--spool", str(client.spool)],
        capture_output=True,
        text=True,
        check=False,
        timeout=_SYNC_S,
    )
    left = [path.name for path in client.spool.glob("*.spool")]
    if done.returncode != 0 or left:
        raise Died(f"headrace sync left {left}: {done.stdout}{done.stderr[-3000:]}")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")  # in one piece: others may say something now
    sys.stdout.flush()


def main() -> None:
    """For `make faults`; exit code 1 when a schedule failed, and then the logs stay."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1)
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="headrace-faults-"))
    totals = play_all(range(asked.seed, asked.seed + asked.count), folder, _say, asked.jobs)
    print(totals)
    if totals.failures:
        sys.exit(f"logs and records are in {folder}; play a seed again with: make faults SEED=<seed> COUNT=1")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
