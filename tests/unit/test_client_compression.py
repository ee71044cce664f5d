"""Frames are compressed where it pays, and only there."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

import headrace as hr
from fake_headrace import serving
from fake_ingest import decoded
from headrace.api.tracking.v1.metrics_pb2 import ENCODING_UNSPECIFIED, ENCODING_ZSTD, Frame
from headrace.ingest.columns import Block
from headrace.ingest.compression import Compressor
from headrace.ingest.frames import Limits, make_frames

FLAT = [0.5] * 1_000
NOISE = [random.Random(seed).gauss(0, 1) for seed in range(1_000)]


def frame_of(values: list[float], times: list[int] | None = None) -> Frame:
    times = times or list(range(len(values)))
    (frame,) = make_frames([Block("k", values, range(len(values)), times)], Limits(100_000, 1 << 20))
    return frame


def sent(compress: Compressor, *columns: list[float]) -> list[bool]:
    """Whether each of these was compressed; what it holds stays the same."""
    found = []
    for values in columns:
        frame = frame_of(values)
        before = decoded(frame)
        compress(frame)
        assert decoded(frame) == before
        found.append(frame.encoding == ENCODING_ZSTD)
    return found


def test_after_a_frame_that_is_not_worth_it_some_go_plain() -> None:
    auto = Compressor("auto", near=False)
    assert sent(auto, FLAT, FLAT, NOISE) == [True, True, False]
    assert sent(auto, *[FLAT] * 17) == [False] * 15 + [True] * 2
    assert sent(auto, [0.5] * 20) == [False]  # too small


def test_a_wish_is_followed() -> None:
    assert sent(Compressor("auto", near=True), FLAT) == [False]
    assert sent(Compressor("on", near=True), FLAT, NOISE, FLAT) == [True, False, True]
    assert sent(Compressor("off", near=False), FLAT) == [False]


@pytest.mark.parametrize(("wish", "encoding"), [("auto", ENCODING_UNSPECIFIED), ("on", ENCODING_ZSTD)])
def test_a_server_on_this_machine_gets_plain_frames(wish: str, encoding: int) -> None:
    settings = hr.IngestSettings(age_s=0.01, compression=wish)  # type: ignore[arg-type] # one of them
    with serving() as fake, hr.Client(fake.uri, ingest=settings) as client:
        with client.start_run(capture=False) as run:
            run.log_columns(None, {"k": FLAT})
        (frames,) = fake.ingest.frames[run.id].values()
        assert {frame.encoding for frame in frames} == {encoding}
        assert [value for _, _, value in fake.ingest.points(run.id)["k"]] == FLAT


def test_an_offline_run_is_kept_compressed() -> None:
    sizes = []
    for wish in ("off", "auto"):
        settings = hr.IngestSettings(compression=wish)  # type: ignore[arg-type] # one of them
        with hr.Client("grpc://127.0.0.1:1", ingest=settings) as client:
            with client.start_run(capture=False, offline=True) as run:
                run.log_columns(None, {"k": FLAT * 50})
            (path,) = Path(os.environ["HEADRACE_SPOOL"]).glob(f"{run.id}-*.spool")
            sizes.append(path.stat().st_size)
    assert sizes[1] < sizes[0] / 5


def test_without_the_library_auto_does_without_and_on_says_what_to_install() -> None:
    program = """
import sys
sys.modules["zstandard"] = sys.modules["compression.zstd"] = None
from headrace.ingest.compression import Compressor
Compressor("auto", near=False)
try:
    Compressor("on", near=False)
except ModuleNotFoundError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "compression=\"on\" needs zstd: pip install 'headrace[compression]'\n"
