"""A receiver of webhooks, on a port of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Receiver:
    """What a receiver answers, and what it got.

    Attributes:
        answers: Statuses to answer with, one after the other; the last one from then on.
        location: Where a redirect leads.
        slow_seconds: Between single bytes of the answer's headers.
    """

    port: int = 0
    answers: list[int] = field(default_factory=lambda: [200])
    location: str = ""
    slow_seconds: float = 0.0
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    def url(self, host: str) -> str:
        """Return the URL under a name."""
        return f"http://{host}:{self.port}/hook"


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Run a receiver."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.got.append((dict(self.headers), body))
            status = receiver.answers[0]
            if len(receiver.answers) > 1:
                receiver.answers.pop(0)
            if receiver.slow_seconds:
                for byte in b"HTTP/1.1 200 OK" * 20:
                    self.wfile.write(bytes([byte]))
                    self.wfile.flush()
                    time.sleep(receiver.slow_seconds)
            self.send_response(status)
            if receiver.location:
                self.send_header("Location", receiver.location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

        def handle(self) -> None:
            try:
                super().handle()
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
