"""The address a service listens on, as its event loop takes it."""

from __future__ import annotations

import asyncio
import socket

import pytest

from cli.serve import ServeError, bound


def test_small_pieces_of_answers_are_sent_at_once() -> None:
    """Else a body waits until its head is acknowledged, which clients put off for 40 ms."""

    async def settings() -> list[int]:
        found: list[int] = []

        def accepted(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connection = writer.get_extra_info("socket")
            found.append(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        with bound("127.0.0.1", 0) as listener:
            async with await asyncio.start_server(accepted, sock=listener):
                reader, writer = await asyncio.open_connection(*listener.getsockname())
                await reader.read()
                writer.close()
        return found

    (immediate,) = asyncio.run(settings())
    assert immediate


def test_a_port_that_is_taken_is_named() -> None:
    with bound("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with (
            pytest.raises(ServeError, match=f"cannot listen on 127.0.0.1:{port}: .*--port"),
            bound("127.0.0.1", port),
        ):
            pass
