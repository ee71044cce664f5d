"""`make bench`: Headrace beside its peers and the raw limits, in one run, as ratios.

    python bench/run.py [--only rate,search] [--quick] [--long] [--no-peers] [--readme]

Prints the tables and writes `bench/results/<time>.json`, or `part-<time>.json` when not all was measured at full size. `--quick` takes a tenth of the sizes and one round: to see that all
runs, not to read figures. `--long` adds the rows that take many minutes (a million runs, 200 million points).
"""

import argparse
import importlib
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast

from rig import peers, table
from rig.figures import Figure
from rig.lab import Lab, Scale
from rig.processes import BENCH, Failed

ROWS: Final = ("rates", "streams", "cost", "latency", "storage", "history", "chart", "search", "rest", "plugin")
LONG: Final = ("growth",)
_MARKS: Final = ("<!-- table -->", "<!-- end of table -->")


def main() -> None:
    """Measures, tells, keeps."""
    asked = _asked()
    scale = Scale(rounds=1 if asked.quick else 3, share=0.1 if asked.quick else 1.0, long=asked.long)
    figures: list[Figure] = []
    failed: dict[str, str] = {}
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as name, ExitStack() as stack:
        lab = Lab(Path(name), stack, scale, with_peers=not asked.no_peers)
        about = table.machine(BENCH.parent)
        about |= {"time": datetime.now(UTC).isoformat(timespec="seconds"), "PostgreSQL": lab.postgres.settings()}
        about["peers"] = {} if asked.no_peers else {peer: peers.version(peer) for peer in peers.PEERS}
        for row in asked.only or (ROWS + LONG if asked.long else ROWS):
            print(f"{time.monotonic() - began:5.0f} s  {row}", flush=True)
            try:
                figures += importlib.import_module(f"rows.{row}").measure(lab)
            except Failed as error:
                print(error, flush=True)
                failed[row] = str(error).partition("\n")[0]
            except KeyboardInterrupt:
                failed[row] = "stopped"
                break
            _write(figures, about | {"whole": False})  # it is long: who ends it keeps what there is
    about["minutes"] = round((time.monotonic() - began) / 60, 1)
    about["failed"] = failed
    about["whole"] = whole = not (asked.only or asked.quick or asked.no_peers or failed)
    _keep(figures, about, BENCH / "README.md" if whole and asked.readme else None)
    if failed:
        sys.exit(f"these rows failed: {', '.join(failed)}")


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", type=lambda text: text.split(","), help=f"some of {', '.join(ROWS + LONG)}")
    parser.add_argument("--quick", action="store_true", help="a tenth of the sizes, one round")
    parser.add_argument("--long", action="store_true", help="also what takes many minutes")
    parser.add_argument("--no-peers", action="store_true", help="Headrace and the raw limits alone")
    parser.add_argument("--readme", action="store_true", help="put the table of a whole run into bench/README.md")
    asked = parser.parse_args()
    if unknown := set(asked.only or ()) - {*ROWS, *LONG}:
        parser.error(f"--only: no rows {', '.join(sorted(unknown))}; there are {', '.join(ROWS + LONG)}")
    return asked


def _keep(figures: Sequence[Figure], about: dict[str, Any], readme: Path | None) -> None:
    text = table.markdown(figures, about)
    print(f"\n{text}\n")
    path = _write(figures, about)
    print(f"kept in {path.relative_to(BENCH.parent)}")
    if readme is not None:
        before, rest = readme.read_text().split(_MARKS[0])
        readme.write_text(f"{before}{_MARKS[0]}\n{text}\n{_MARKS[1]}{rest.split(_MARKS[1])[1]}")
        print(f"its table is in {readme.relative_to(BENCH.parent)}")


def _write(figures: Sequence[Figure], about: dict[str, Any]) -> Path:
    name = f"{cast('str', about['time'])[:16].replace(':', '')}.json"
    results = BENCH / "results"
    results.mkdir(exist_ok=True)
    path = results / f"part-{name}"
    path.write_text(json.dumps(table.document(figures, about), indent=1) + "\n")
    return path.rename(results / name) if about["whole"] else path


if __name__ == "__main__":
    main()
