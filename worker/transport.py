"""Messages as files in one folder, for a service without a broker.

Kombu's file transport writes a message in place, so that a reader may find it half written, and
moves what it reads through the system's temporary folder. Here a message appears and disappears
by one rename inside its folder. A message that a dying worker had taken is lost; jobs are not,
since the database is looked through for queued ones (`worker.sweeper`). Its table of queues is
written in place as well, so that of two workers that start together one may read it empty and end;
here every row is a file of its own, which appears whole.
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from pathlib import Path
from queue import Empty
from typing import Any

from kombu.transport import filesystem
from kombu.transport.filesystem import exchange_queue_t

__all__ = ["FolderChannel", "FolderTransport", "clear_messages"]


class FolderChannel(filesystem.Channel):
    """Sends and takes messages by renaming files; folders are made when first needed."""

    @property
    def control_folder(self) -> Path:
        """Where kombu notes which queues there are."""
        return _made(Path(self.transport_options["control_folder"]))

    def get_table(self, exchange: str) -> list[exchange_queue_t]:
        """Return which queues get what is sent to an exchange."""
        rows = sorted(self._exchange_folder(exchange).glob("*.json"))
        return [exchange_queue_t(*json.loads(row.read_text(encoding="utf-8"))) for row in rows]

    def _queue_bind(
        self, exchange: str, routing_key: str | None, pattern: str | None, queue: str | None
    ) -> None:
        """Note that a queue gets what is sent to an exchange; once more does no harm."""
        text = json.dumps([routing_key or "", pattern or "", queue or ""])
        name = hashlib.sha256(text.encode()).hexdigest()
        _write_whole(self._exchange_folder(exchange) / f"{name}.json", text)

    def _exchange_folder(self, exchange: str) -> Path:
        return _made(self.control_folder / f"{exchange}.queues")

    def _folder(self) -> Path:
        return _made(Path(self.data_folder_in))

    def _size(self, queue: str) -> int:
        """Return the number of messages in `queue`."""
        return sum(1 for _ in self._folder().glob(f"*.{queue}.msg"))

    def _put(  # type: ignore[override]
        self, queue: str, message: dict[str, Any], **_options: object
    ) -> None:
        """Add a message to `queue`."""
        name = f"{time.time_ns():020d}_{uuid.uuid4().hex}.{queue}.msg"
        _write_whole(self._folder() / name, json.dumps(message))

    def _get(self, queue: str, timeout: float | None = None) -> dict[str, Any]:
        """Take the oldest message of `queue`.

        Raises:
            Empty: There is none.
        """
        del timeout  # kombu sleeps between looks
        for path in sorted(self._folder().glob(f"*.{queue}.msg")):
            taken = path.with_suffix(f".{uuid.uuid4().hex}.taken")
            try:
                path.rename(taken)
            except FileNotFoundError:
                continue  # another worker was faster
            text = taken.read_text(encoding="utf-8")
            taken.unlink(missing_ok=True)
            message: dict[str, Any] = json.loads(text)
            return message
        raise Empty


class FolderTransport(filesystem.Transport):
    """The file transport with the channel above."""

    Channel = FolderChannel


def clear_messages(folder: Path) -> None:
    """Remove every message, also half written and half taken ones.

    Args:
        folder: The broker's folder.
    """
    for path in (folder / "messages").glob("*"):
        path.unlink(missing_ok=True)


def _write_whole(path: Path, text: str) -> None:
    """Write a file that appears under its name at once, and nobody finds half written."""
    hidden = path.with_name(f"{uuid.uuid4().hex}.partial")
    hidden.write_text(text, encoding="utf-8")
    hidden.rename(path)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
