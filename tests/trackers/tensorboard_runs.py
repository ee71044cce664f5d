"""Runs in the environment of TensorBoard: writes event files, and says what TensorBoard sees in them.

`runs FOLDER` writes runs of both writers; `killed FOLDER` says "logged" and waits to be killed; `see FOLDER` prints, as JSON,
the tensors of each run by their tags; `numbers` the numbers of the fields of its messages.
"""

import json
import math
import sys
import time
from pathlib import Path

import numpy as np
from tensorboard.backend.event_processing import plugin_event_multiplexer
from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2, tensor_shape_pb2
from tensorboard.plugins.audio import metadata as audio
from tensorboard.plugins.hparams import plugin_data_pb2
from tensorboard.plugins.image import metadata as image
from tensorboard.plugins.pr_curve import metadata as pr_curve
from tensorboard.plugins.scalar import metadata as scalar
from tensorboard.plugins.text import metadata as text
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.util import tensor_util
from tensorboardX import SummaryWriter

BEGAN = 1_700_000_000.0
KILLED_ROWS = 20_000


def classic(folder: str) -> None:
    """By tensorboardX, restarted once at step 3."""
    with SummaryWriter(folder) as writer:
        for step in range(6):
            writer.add_scalar("loss", 1 / (step + 1), step, walltime=BEGAN + step / 4)
            writer.add_scalar("ü/Größe", (math.nan, math.inf, -math.inf)[step % 3], step, walltime=BEGAN + step / 4)
        writer.add_image("picture", np.zeros((3, 4, 5), np.uint8), 1, walltime=BEGAN)
        writer.add_image("picture", np.ones((3, 4, 5), np.uint8), 1, walltime=BEGAN)
        writer.add_text("notes", "Grüße", 2, walltime=BEGAN)
        writer.add_histogram("weights", np.arange(10.0), 0, walltime=BEGAN)
        settings = {"lr": 0.1, "layers": 3, "optimizer": "adam", "flag": True}
        writer.add_hparams(settings, {"score": 0.5}, name="session", global_step=1)
    time.sleep(1.1)  # the name of a file has its second
    with SummaryWriter(folder, purge_step=3) as writer:
        for step in range(3, 8):
            writer.add_scalar("loss", 10.0 + step, step, walltime=BEGAN + 100 + step)


def tensors(folder: str) -> None:
    """By TensorBoard's own writer, as PyTorch's and TensorFlow 2's do; a session that did not end."""
    writer = EventFileWriter(folder)

    def add(tag: str, data: object, metadata: object, step: int = 0) -> None:
        tensor = data if isinstance(data, tensor_pb2.TensorProto) else tensor_util.make_tensor_proto(data)
        value = summary_pb2.Summary.Value(tag=tag, tensor=tensor, metadata=metadata)
        event = event_pb2.Event(wall_time=BEGAN + step, step=step, summary=summary_pb2.Summary(value=[value]))
        writer.add_event(event)

    number = scalar.create_summary_metadata("", "")
    for kind in ("float32", "float64", "float16", "int32", "int64"):
        for step in range(3):
            add(kind, np.array(step * 1.5 + 0.1).astype(kind), number if step == 0 else None, step)
    shape = tensor_shape_pb2.TensorShapeProto()
    add(
        "content", tensor_pb2.TensorProto(dtype=2, tensor_shape=shape, tensor_content=np.float64(0.3).tobytes()), number
    )
    add("text", np.array([b"one", b"two"], object), text.create_summary_metadata("", ""))
    pictures = np.array([b"5", b"4", b"\x89PNG one", b"\x89PNG two"], object)
    add("pictures", pictures, image.create_summary_metadata("", ""))
    add("sound", np.array([[b"RIFF.", b"label"]], object), audio.create_summary_metadata("", "", encoding=3))
    add("curve", np.zeros((6, 3), np.float32), pr_curve.create_summary_metadata("", "", 3))
    start = plugin_data_pb2.SessionStartInfo(group_name="grid", start_time_secs=BEGAN - 5)
    start.hparams["deep"].number_value = 2
    data = plugin_data_pb2.HParamsPluginData(session_start_info=start).SerializeToString()
    metadata = summary_pb2.SummaryMetadata(plugin_data={"plugin_name": "hparams", "content": data})
    value = summary_pb2.Summary.Value(tag="_hparams_/session_start_info", metadata=metadata)
    writer.add_event(event_pb2.Event(wall_time=BEGAN, summary=summary_pb2.Summary(value=[value])))
    writer.close()


def killed(folder: str) -> None:
    """Does not end by itself."""
    writer = SummaryWriter(folder, flush_secs=1)
    for step in range(KILLED_ROWS):
        writer.add_scalar("loss", 1 / (step + 1), step, walltime=BEGAN + step)
    writer.flush()
    print("logged", flush=True)
    time.sleep(600)


def see(folder: str) -> "dict[str, dict[str, list[tuple[int, float, object]]]]":
    """All points of all runs; what stands in them as text."""
    everything = {"scalars": 0}
    multiplexer = plugin_event_multiplexer.EventMultiplexer(tensor_size_guidance=everything, purge_orphaned_data=False)
    multiplexer.AddRunsFromDirectory(folder)
    multiplexer.Reload()
    seen = {}
    for run, kinds in multiplexer.Runs().items():
        seen[run] = {
            tag: [
                (event.step, event.wall_time, repr(tensor_util.make_ndarray(event.tensor_proto).tolist()))
                for event in multiplexer.Tensors(run, tag)
            ]
            for tag in kinds["tensors"]
            if multiplexer.SummaryMetadata(run, tag).plugin_data.plugin_name == "scalars"
        }
    return seen


def numbers() -> "dict[str, dict[str, int]]":
    """Of the messages with fields of their own, by the last part of the name."""
    found = [event_pb2.Event, summary_pb2.Summary, summary_pb2.Summary.Value, summary_pb2.Summary.Image]
    found += [summary_pb2.Summary.Audio, summary_pb2.HistogramProto, summary_pb2.SummaryMetadata]
    found += [summary_pb2.SummaryMetadata.PluginData, tensor_pb2.TensorProto, tensor_shape_pb2.TensorShapeProto]
    found += [tensor_shape_pb2.TensorShapeProto.Dim, plugin_data_pb2.HParamsPluginData]
    found += [plugin_data_pb2.SessionStartInfo, plugin_data_pb2.SessionEndInfo]
    return {one.DESCRIPTOR.name: {field.name: field.number for field in one.DESCRIPTOR.fields} for one in found}


if __name__ == "__main__":
    what, *where = sys.argv[1:]
    if what == "killed":
        killed(where[0])
    elif what == "runs":
        classic(str(Path(where[0]) / "train"))
        tensors(str(Path(where[0]) / "deeper" / "eval"))
    else:
        print(json.dumps(see(where[0]) if what == "see" else numbers()))
