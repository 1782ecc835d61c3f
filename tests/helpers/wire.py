"""A wire to a service that can be cut and mended, to see what its clients make of it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_PIECE = 65536


class Wire:
    """Passes bytes on between clients and a service while it is whole.

    Args:
        port: Of the service, on this machine.
    """

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._whole = True
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        """Where clients find the service."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def cut(self) -> None:
        """Break all connections, and take no new ones."""
        with self._lock:
            self._whole = False
            broken, self._open = self._open, set()
        for one in broken:
            _shut(one)

    def mend(self) -> None:
        """Take connections again."""
        self._whole = True

    def close(self) -> None:
        """End for good."""
        self.cut()
        _shut(self._listener)
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                whole = self._whole
                service = socket.create_connection(self._target) if whole else client
                self._open |= {client, service} if whole else set()
            if not whole:
                client.close()
                continue
            for ends in ((client, service), (service, client)):
                thread = threading.Thread(target=self._pass_on, args=ends, daemon=True)
                self._threads.append(thread)
                thread.start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while piece := source.recv(_PIECE):
                target.sendall(piece)
        with self._lock:
            self._open -= {source}
        _shut(target)
        # Either direction closes what it reads from; the other one has been woken by now.
        source.close()


def _shut(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)


@contextmanager
def wired(port: int) -> Iterator[Wire]:
    """Lay a wire to a service on this machine."""
    wire = Wire(port)
    try:
        yield wire
    finally:
        wire.close()
