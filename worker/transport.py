"""Messages as files in one folder, for a service without a broker.

Kombu's file transport writes a message in place, so that a reader may find it half written, and
moves what it reads through the system's temporary folder. Here a message appears and disappears
by one rename inside its folder. A message that a dying worker had taken is lost; jobs are not,
since the database is looked through for queued ones (`worker.sweeper`).
"""

from __future__ import annotations

import json
import time
import uuid
from pathlib import Path
from queue import Empty
from typing import Any

from kombu.transport import filesystem

__all__ = ["FolderChannel", "FolderTransport", "clear_messages"]


class FolderChannel(filesystem.Channel):
    """Sends and takes messages by renaming files; folders are made when first needed."""

    @property
    def control_folder(self) -> Path:
        """Where kombu notes which queues there are."""
        return _made(Path(self.transport_options["control_folder"]))

    def _folder(self) -> Path:
        return _made(Path(self.data_folder_in))

    def _size(self, queue: str) -> int:
        """Return the number of messages in `queue`."""
        return sum(1 for _ in self._folder().glob(f"*.{queue}.msg"))

    def _put(  # type: ignore[override]
        self, queue: str, message: dict[str, Any], **_options: object
    ) -> None:
        """Add a message to `queue`."""
        folder = self._folder()
        name = f"{time.time_ns():020d}_{uuid.uuid4().hex}"
        hidden = folder / f"{name}.partial"
        hidden.write_text(json.dumps(message), encoding="utf-8")
        hidden.rename(folder / f"{name}.{queue}.msg")

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


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
