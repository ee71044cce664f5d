"""Protobuf messages of other programs' files, from tables of the fields that are read; all other fields are skipped.

Their own packages are not asked: the files outlive the versions that wrote them, and each brings a hundred megabytes.
"""

from collections.abc import Mapping
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

Table = Mapping[str, Mapping[str, tuple[int, str]]]
"""Message, field, (number, kind): "double", ... or the name of a message, with "repeated " or "optional " before it.

Enumerations are int32; a map is a repeated message of (1, key) and (2, value), as on the wire.
"""
_KINDS: Final = {
    kind: getattr(descriptor_pb2.FieldDescriptorProto, f"TYPE_{kind.upper()}")
    for kind in ("double", "float", "int64", "int32", "bool", "string", "bytes")
}


def message_classes(package: str, table: Table) -> dict[str, Any]:
    """A class for each message of the table."""
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    for name, fields in table.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            _add(message, field, number, kind, package)
    pool: Any = descriptor_pool.DescriptorPool()  # its methods have no types
    pool.AddSerializedFile(file.SerializeToString())
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}")) for name in table}


def _add(message: descriptor_pb2.DescriptorProto, name: str, number: int, kind: str, package: str) -> None:
    label, _, plain = kind.rpartition(" ")
    field = message.field.add(name=name, number=number)
    field.label = field.LABEL_REPEATED if label == "repeated" else field.LABEL_OPTIONAL
    if plain in _KINDS:
        field.type = _KINDS[plain]
    else:
        field.type, field.type_name = field.TYPE_MESSAGE, f".{package}.{plain}"
    if label == "optional":  # tells absent from zero
        field.proto3_optional, field.oneof_index = True, len(message.oneof_decl)
        message.oneof_decl.add(name=f"_{name}")
