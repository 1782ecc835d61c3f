"""Real Redis and PostgreSQL servers on free ports, for as long as a block lasts."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from tests.helpers.processes import free_port, running
from tests.helpers.service import wait_until

INSTALL = "run tests/install_servers.sh as root to install it"
USER = "tightrope"
PASSWORD = "secret"  # noqa: S105 (of a database that lives for seconds)


def find_postgres() -> Path:
    """Return the folder of PostgreSQL's programs; skip the test where there is none."""
    on_path = shutil.which("initdb")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if on_path is None and not found:
        pytest.skip(f"PostgreSQL is not installed: {INSTALL}")
    return (Path(on_path) if on_path else found[-1]).parent


def find_redis() -> str:
    """Return the path of Redis; skip the test where there is none."""
    found = shutil.which("redis-server")
    if found is None:
        pytest.skip(f"redis-server is not installed: {INSTALL}")
    return found


def unprivileged(command: Sequence[str]) -> list[str]:
    """Return a command that runs as somebody else when we are root: PostgreSQL refuses root."""
    if os.getuid() != 0:
        return list(command)
    # It becomes the command, so that signals go to that; runuser would stand between the two.
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--", *command]


def prepare_postgres(folder: Path) -> Path:
    """Make the data of a new PostgreSQL server; return their folder."""
    programs = find_postgres()
    data, password = folder / "data", folder / "password"
    folder.mkdir(parents=True)
    password.write_text(PASSWORD)
    if os.getuid() == 0:
        # pytest's folders are its user's alone; this one belongs to the server's user.
        for path in (folder, password):
            shutil.chown(path, "postgres")
        for parent in folder.parents[: len(folder.relative_to("/").parts) - 1]:
            if parent.stat().st_uid == 0 and parent != Path("/tmp"):  # noqa: S108
                parent.chmod(parent.stat().st_mode | 0o011)
    subprocess.run(
        unprivileged([
            f"{programs}/initdb", "--pgdata", str(data), "--username", USER,
            "--auth", "scram-sha-256", "--pwfile", str(password),
            "--encoding", "UTF8", "--locale", "C", "--no-sync",
        ]),
        check=True, capture_output=True, cwd="/",
    )  # fmt: skip
    return data


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """Run PostgreSQL on a free port; yield the URL of an empty database."""
    programs, port = find_postgres(), free_port()
    data = prepare_postgres(folder)
    command = [
        f"{programs}/postgres", "-D", str(data), "-p", str(port), "-k", "",
        "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off",
    ]  # fmt: skip
    url = f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{port}"
    with running(unprivileged(command), log=folder.with_suffix(".log"), cwd=Path("/")) as process:
        wait_until(lambda: accepts(f"{url}/postgres"))
        with psycopg.connect(f"{url}/postgres", autocommit=True) as connection:
            connection.execute("CREATE DATABASE tightrope")
        yield f"{url}/tightrope"
        os.killpg(process.pid, signal.SIGINT)
        process.wait(30)


def accepts(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


@contextmanager
def redis(folder: Path, command: Sequence[str] = ("redis-server",)) -> Iterator[str]:
    """Run Redis on a free port; yield its URL.

    Args:
        folder: Where it keeps its files.
        command: As the deployment starts it; address and folder are added.
    """
    find_redis()
    port = free_port()
    folder.mkdir(parents=True)
    added = ("--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder))
    with running((*command, *added), log=folder.with_suffix(".log")):
        wait_until(lambda: listens(port))
        yield f"redis://127.0.0.1:{port}/0"


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
