"""Messages between a worker and the process that computes for it: JSON, and bytes beside it.

A frame is the length of its JSON text (8 bytes, big-endian), the number of its attachments (4
bytes), the text, and each attachment behind its own length (8 bytes). Nothing is pickled: the
process on the other side has read files of strangers.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

__all__ = ["Frame", "FrameError", "receive", "send", "work_from_json", "work_to_json"]

_HEAD = struct.Struct(">QI")
_LENGTH = struct.Struct(">Q")
_LONGEST_TEXT = 2**28
_LONGEST_ATTACHMENT = 2**33
_MOST_ATTACHMENTS = 8
_PIECE_BYTES = 2**20
Work = TypeVar("Work")


class FrameError(Exception):
    """What arrived is no frame, or the other side is gone in the middle of one."""


@dataclass(frozen=True)
class Frame:
    """One message.

    Attributes:
        body: The JSON part.
        attachments: The bytes beside it.
    """

    body: Mapping[str, Any]
    attachments: Sequence[bytes] = ()


def send(connection: socket.socket, frame: Frame) -> None:
    """Write a frame.

    Raises:
        OSError: The other side is gone.
    """
    text = json.dumps(frame.body).encode()
    connection.sendall(_HEAD.pack(len(text), len(frame.attachments)) + text)
    for content in frame.attachments:
        connection.sendall(_LENGTH.pack(len(content)))
        connection.sendall(content)


def receive(connection: socket.socket) -> Frame | None:
    """Read a frame; None where the other side has closed the connection between two.

    Raises:
        FrameError: It ends early, or is none.
        OSError: The connection broke.
    """
    start = connection.recv(1)
    if not start:
        return None
    length, count = _HEAD.unpack(start + _exactly(connection, _HEAD.size - 1))
    if length > _LONGEST_TEXT or count > _MOST_ATTACHMENTS:
        raise FrameError(f"a frame of {length} bytes with {count} attachments is none of ours")
    try:
        body = json.loads(_exactly(connection, length))
    except (ValueError, RecursionError) as error:
        raise FrameError(f"a frame holds no JSON: {error}") from error
    if not isinstance(body, dict):
        raise FrameError("a frame holds no JSON object")
    return Frame(body, [_attachment(connection) for _ in range(count)])


def _attachment(connection: socket.socket) -> bytes:
    (length,) = _LENGTH.unpack(_exactly(connection, _LENGTH.size))
    if length > _LONGEST_ATTACHMENT:
        raise FrameError(f"an attachment of {length} bytes is none of ours")
    return _exactly(connection, length)


def _exactly(connection: socket.socket, length: int) -> bytes:
    """Read that many bytes."""
    received = bytearray()
    while len(received) < length:
        piece = connection.recv(min(length - len(received), _PIECE_BYTES))
        if not piece:
            raise FrameError("the other side is gone in the middle of a frame")
        received += piece
    return bytes(received)


def work_to_json(work: Any) -> dict[str, Any]:  # noqa: ANN401 (any frozen dataclass of plain data)
    """Return the fields of a dataclass of plain values and paths."""
    values = {entry.name: getattr(work, entry.name) for entry in fields(work)}
    paths = [name for name, value in values.items() if isinstance(value, Path)]
    plain = {name: str(values[name].resolve()) for name in paths}
    return {"values": {**values, **plain}, "paths": paths}


def work_from_json(kind: type[Work], stated: Mapping[str, Any]) -> Work:
    """Return the dataclass that `work_to_json` was given; sequences come back as lists."""
    paths = {name: Path(stated["values"][name]) for name in stated["paths"]}
    return kind(**{**stated["values"], **paths})
