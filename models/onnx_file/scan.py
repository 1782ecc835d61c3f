"""A look at the bytes of an ONNX file before protobuf makes objects of them.

Two bytes can stand for a node that takes hundreds in memory. This walk over the wire format counts
parts without building any, and stops at the first that is too many, so that refusing a hostile file
costs less than reading an honest one.

Source: Protocol Buffers, "Encoding" (tags, varints, length-delimited fields); field numbers from
onnx.proto.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from models.errors import ModelImportError
from models.onnx_file.limits import ImportLimits

__all__ = ["check_parts"]

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT = 10


@dataclass(frozen=True)
class _Kind:
    """A message: which of its fields hold messages that matter, and how many there may be."""

    name: str
    inside: Mapping[int, _Kind] = field(default_factory=dict)


_TENSOR = _Kind("tensor")
_PLAIN = _Kind("value")
_ATTRIBUTE = _Kind("attribute", {5: _TENSOR, 10: _TENSOR})
_NODE = _Kind("node", {5: _ATTRIBUTE})
_GRAPH = _Kind("graph", {1: _NODE, 5: _TENSOR, 11: _PLAIN, 12: _PLAIN, 13: _PLAIN})
_MODEL = _Kind("model", {7: _GRAPH})


def check_parts(data: bytes, limits: ImportLimits) -> None:
    """Refuse a file of more parts than any network has.

    Args:
        data: What is about to be parsed as an ONNX model.
        limits: `nodes` of the graph, `parts` of any kind.

    Raises:
        ModelImportError: It has too many, or cannot be what it should be.
    """
    counts: dict[str, int] = {}
    parts = 0
    pending = [(_MODEL, 0, len(data))]
    while pending:
        kind, start, end = pending.pop()
        for number, first, last in _fields(data, start, end):
            parts += 1
            if parts > limits.parts:
                raise ModelImportError(
                    f"the network file has more than {limits.parts} parts (names, attributes, "
                    "shapes); no network needs so many"
                )
            inner = kind.inside.get(number)
            if inner is None or first < 0:
                continue
            counts[inner.name] = counts.get(inner.name, 0) + 1
            if counts.get("node", 0) > limits.nodes:
                raise ModelImportError(
                    f"the network has more nodes than the limit of {limits.nodes}"
                )
            pending.append((inner, first, last))


def _fields(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield the number of each field and where its content stands; -1 for plain numbers.

    Raises:
        ModelImportError: The bytes are not in the wire format.
    """
    position = start
    while position < end:
        tag, position = _varint(data, position, end)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            _, position = _varint(data, position, end)
            yield number, -1, -1
        elif wire == _LENGTH:
            length, position = _varint(data, position, end)
            if position + length > end:
                raise _damaged()
            yield number, position, position + length
            position += length
        elif wire in (_FIXED32, _FIXED64):
            position += 4 if wire == _FIXED32 else 8
            yield number, -1, -1
        else:
            raise _damaged()
    if position != end:
        raise _damaged()


def _varint(data: bytes, position: int, end: int) -> tuple[int, int]:
    """Return a number of variable length, and where it ends."""
    value = shift = 0
    for place in range(position, min(position + _LONGEST_VARINT, end)):
        byte = data[place]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place + 1
        shift += 7
    raise _damaged()


def _damaged() -> ModelImportError:
    return ModelImportError(
        "the file is not an ONNX model, or it is truncated: it cannot be parsed as protobuf"
    )
