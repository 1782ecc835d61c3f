"""docker-compose.yml as processes: every service's own command, environment and health check.

Only addresses, folders and programs are put in their place.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen
from typing import Any
from urllib.parse import urlsplit

import torch
import yaml

from tests.helpers.imports import ROOT
from tests.helpers.processes import free_port, running

__all__ = ["OURS", "SERVERS", "Deployment", "read_compose"]

OURS = ("migrate", "api", "worker-bounds", "worker-exact", "worker-bounds-gpu")
SERVERS = ("postgres", "redis")
_VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")


def read_compose(variables: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the file, with `${…}` left alone, or replaced as Compose does it.

    Raises:
        KeyError: A variable that has to be set is not; the message is the file's own.
    """
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    if variables is not None:
        text = _VARIABLE.sub(lambda found: _value(found, variables), text)
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def _value(found: re.Match[str], variables: Mapping[str, str]) -> str:
    name, kind, words = found.groups()
    if variables.get(name):
        return variables[name]
    if kind == "-":
        return str(words)
    raise KeyError(f"{name}: {words}")


class Deployment:
    """The services of the file as processes.

    Args:
        folder: For data and logs.
        database_url, broker_url: Of the real servers.
    """

    def __init__(self, folder: Path, *, database_url: str, broker_url: str) -> None:
        self.services = read_compose({"POSTGRES_PASSWORD": "word"})["services"]
        self.folder = folder
        self.port = free_port()
        self._servers = {"postgres": urlsplit(database_url), "redis": urlsplit(broker_url)}
        self._places = {
            "postgresql://tightrope:word@postgres:5432/tightrope": database_url,
            "redis://redis:6379/0": broker_url,
            "/data": str(folder / "data"),
            "0.0.0.0": "127.0.0.1",  # noqa: S104
            "8000": str(self.port),
            "python": sys.executable,
            "tightrope": str(Path(sys.executable).with_name("tightrope")),
            "http://127.0.0.1:8000/readyz": f"http://127.0.0.1:{self.port}/readyz",
            "cuda": "cuda" if torch.cuda.is_available() else "cpu",
        }

    def placed(self, words: Sequence[object]) -> list[str]:
        """Return a command with addresses and programs put in their place."""
        return [self._places.get(str(word), str(word)) for word in words]

    def command(self, name: str) -> list[str]:
        """Return a service's own command."""
        return self.placed(self.services[name]["command"])

    def health(self, name: str) -> list[str]:
        """Return the command of a service's health check; servers are asked at their real port."""
        kind, *command = self.services[name]["healthcheck"]["test"]
        assert kind == "CMD"
        if name not in SERVERS:
            return self.placed(command)
        address = self._servers[name]
        option = {"postgres": "--port", "redis": "-p"}[name]
        host = {"postgres": "--host", "redis": "-h"}[name]
        return [*command[:1], host, str(address.hostname), option, str(address.port), *command[1:]]

    def environment(self, name: str) -> dict[str, str]:
        """Return a service's environment."""
        stated = self.services[name]["environment"] if name in OURS else {}
        kept = {key: value for key, value in os.environ.items() if key[:10] != "TIGHTROPE_"}
        return {
            **kept,
            "OMP_NUM_THREADS": "1",
            **{key: self._places.get(value, value) for key, value in stated.items()},
        }

    @contextmanager
    def run(self, name: str, command: Sequence[str] | None = None) -> Iterator[Popen[bytes]]:
        """Run a service, or another command in its place."""
        (self.folder / "data").mkdir(exist_ok=True)
        words = list(command or self.command(name))
        with running(words, log=self.log(name), env=self.environment(name)) as process:
            yield process

    def succeeds(self, name: str, command: Sequence[str] | None = None) -> bool:
        """Run a command to its end."""
        with self.run(name, command) as process:
            return bool(process.wait(120) == 0)

    def log(self, name: str) -> Path:
        """Return where a service writes what it says."""
        return self.folder / f"{name}.log"
