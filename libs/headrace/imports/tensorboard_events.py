"""What is read of TensorBoard's events: their messages, and the values in them."""

import math
import struct
from collections.abc import Iterator
from typing import Any, Final

from headrace.imports.messages import Table, message_classes

TABLE: Final[Table] = {
    "Event": {
        "wall_time": (1, "double"),
        "step": (2, "int64"),
        "graph_def": (4, "optional bytes"),
        "summary": (5, "Summary"),
        "tagged_run_metadata": (8, "optional bytes"),
        "meta_graph_def": (9, "optional bytes"),
    },
    "Summary": {"value": (1, "repeated Value")},
    "Value": {
        "tag": (1, "string"),
        "simple_value": (2, "optional float"),
        "image": (4, "Image"),
        "histo": (5, "HistogramProto"),
        "audio": (6, "Audio"),
        "tensor": (8, "TensorProto"),
        "metadata": (9, "SummaryMetadata"),
    },
    "Image": {"encoded_image_string": (4, "bytes")},
    "Audio": {"encoded_audio_string": (4, "bytes")},
    "HistogramProto": {"num": (3, "double")},
    "SummaryMetadata": {"plugin_data": (1, "PluginData")},
    "PluginData": {"plugin_name": (1, "string"), "content": (2, "bytes")},
    "TensorProto": {
        "dtype": (1, "int32"),
        "tensor_shape": (2, "TensorShapeProto"),
        "tensor_content": (4, "bytes"),
        "float_val": (5, "repeated float"),
        "double_val": (6, "repeated double"),
        "int_val": (7, "repeated int32"),
        "string_val": (8, "repeated bytes"),
        "int64_val": (10, "repeated int64"),
        "half_val": (13, "repeated int32"),
    },
    "TensorShapeProto": {"dim": (2, "repeated Dim")},
    "Dim": {"size": (1, "int64")},
}
"""Numbers and names as in TensorBoard's own protos."""
HPARAMS: Final[Table] = {
    "HParamsPluginData": {
        "session_start_info": (3, "SessionStartInfo"),
        "session_end_info": (4, "SessionEndInfo"),
    },
    "SessionStartInfo": {
        "hparams": (1, "repeated HparamsEntry"),
        "monitor_url": (3, "string"),
        "group_name": (4, "string"),
        "start_time_secs": (5, "double"),
    },
    "HparamsEntry": {"key": (1, "string"), "value": (2, "Value")},
    "Value": {
        "number_value": (2, "optional double"),
        "string_value": (3, "optional string"),
        "bool_value": (4, "optional bool"),
    },
    "SessionEndInfo": {"status": (1, "int32"), "end_time_secs": (2, "double")},
}
Event: Final[Any] = message_classes("headrace.imports.tensorboard", TABLE)["Event"]
HParams: Final[Any] = message_classes("headrace.imports.hparams", HPARAMS)["HParamsPluginData"]

_NUMBERS: Final = {  # by TensorFlow's number of the type: the field of single values, and how it lies in bytes
    1: ("float_val", "<f"),
    2: ("double_val", "<d"),
    3: ("int_val", "<i"),
    9: ("int64_val", "<q"),
    14: ("half_val", ""),  # bfloat16
    19: ("half_val", "<e"),
}
_BFLOAT16: Final = 14
_SUFFIXES: Final = {b"\x89PNG": ".png", b"GIF8": ".gif", b"\xff\xd8\xff": ".jpg", b"RIFF": ".wav"}


def number(tensor: Any) -> float | None:
    """Of a tensor of one number; None of any other."""
    if tensor.dtype not in _NUMBERS or any(dim.size != 1 for dim in tensor.tensor_shape.dim):
        return None
    field, form = _NUMBERS[tensor.dtype]
    data, values = tensor.tensor_content, getattr(tensor, field)
    if field == "half_val":  # the bits, as an integer
        data = data or b"".join((bits & 0xFFFF).to_bytes(2, "little") for bits in values)
        data, form = (b"\x00\x00" + data, "<f") if tensor.dtype == _BFLOAT16 else (data, form)
    elif not data:
        return float(values[0]) if len(values) == 1 else None
    return float(struct.unpack(form, data)[0]) if len(data) == struct.calcsize(form) else None


def pieces(value: Any, plugin: str) -> tuple[str, list[bytes]]:
    """The images, clips or text in a value, and which of them: "images", "audio" or "text"; else "" and none."""
    strings = list(value.tensor.string_val)
    if value.HasField("image"):
        return "images", [value.image.encoded_image_string]
    if value.HasField("audio"):
        return "audio", [value.audio.encoded_audio_string]
    if plugin == "images":
        return plugin, strings[2:]  # behind width and height
    if plugin == "audio":
        return plugin, strings[::2]  # each before its label
    if plugin == "text":
        return plugin, [b"\n".join(strings)]
    return "", []


def suffix(folder: str, data: bytes) -> str:
    """Of the name of a file."""
    if folder == "text":
        return ".md"
    return next((end for start, end in _SUFFIXES.items() if data.startswith(start)), "")


def hparams(start: Any) -> Iterator[tuple[str, str]]:
    """As MLflow's client would spell them; TensorBoard keeps integers as floats."""
    for entry in start.hparams:
        value = entry.value
        if value.HasField("number_value"):
            one = value.number_value
            yield entry.key, str(int(one) if one.is_integer() and abs(one) < 2**53 else one)
        else:
            yield entry.key, str(value.bool_value) if value.HasField("bool_value") else value.string_value


def ms(seconds: float) -> int | None:
    """None where it is no time."""
    return int(seconds * 1000) if math.isfinite(seconds) and 0 < seconds < 2**37 else None
