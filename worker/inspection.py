"""Looks at an untrusted file in a process of its own: `python -m worker.inspection`.

Prints one JSON object: `{"details": …}` for a good file, `{"error": {"type", "message"}}` for a bad
one. Everything trusted is loaded first; then the process limits its own memory, time and files,
and only then reads a byte of what was uploaded.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models.data import load_dataset
from models.errors import TightropeError
from models.onnx_import import load_network

__all__ = ["inspect_dataset", "inspect_network", "limit", "main"]

_STATUS = Path("/proc/self/status")
_LARGEST_FILE_BYTES = 2**16


def inspect_network(path: Path, name: str) -> dict[str, Any]:
    """Return what people and later checks want to know about a network.

    Raises:
        TightropeError: It cannot be imported.
    """
    network = load_network(path, name=name)
    operators = Counter(type(node.operator).__name__ for node in network.graph.nodes)
    return {
        "input_shape": list(network.input_shape),
        "output_shape": list(network.output_shape),
        "outputs": network.output_size,
        "parameters": sum(value.numel() for value in network.parameters.values()),
        "nodes": len(network.graph.nodes),
        "operators": dict(sorted(operators.items())),
        "notes": list(network.notes),
    }


def inspect_dataset(path: Path, name: str) -> dict[str, Any]:
    """Return what people and later checks want to know about a data set.

    Raises:
        TightropeError: It cannot be read.
    """
    dataset = load_dataset(path, name=name)
    return {
        "count": len(dataset.y),
        "input_shape": list(dataset.x.shape[1:]),
        "classes": int(np.max(dataset.y)) + 1,
        "minimum": float(np.min(dataset.x)),
        "maximum": float(np.max(dataset.x)),
    }


INSPECTIONS: Mapping[str, Callable[[Path, str], dict[str, Any]]] = {
    "network": inspect_network,
    "dataset": inspect_dataset,
}


def limit(*, memory_bytes: int, seconds: float) -> None:
    """Limit this process, for good.

    Args:
        memory_bytes: Address space beyond what is in use now.
        seconds: Of processor time.
    """
    whole = max(1, round(seconds))
    space = _address_space_bytes() + memory_bytes
    resource.setrlimit(resource.RLIMIT_AS, (space, space))
    resource.setrlimit(resource.RLIMIT_CPU, (whole, whole + 1))
    # Room for Python's own look at its temporary folder, not for filling a disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (_LARGEST_FILE_BYTES, _LARGEST_FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _address_space_bytes() -> int:
    """Return the address space in use; torch alone reserves several GiB without touching them."""
    for line in _STATUS.read_text().splitlines():
        if line.startswith("VmSize:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"{_STATUS} does not state VmSize")


def main(arguments: Sequence[str] | None = None) -> int:
    """Inspect one file; return the exit status: 0 with an answer on standard output."""
    parser = argparse.ArgumentParser(prog="python -m worker.inspection", description=__doc__)
    parser.add_argument("kind", choices=sorted(INSPECTIONS))
    parser.add_argument("path", type=Path)
    parser.add_argument("--name", default="upload")
    parser.add_argument("--memory-bytes", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parsed = parser.parse_args(arguments)
    limit(memory_bytes=parsed.memory_bytes, seconds=parsed.seconds)
    answer: dict[str, Any]
    try:
        answer = {"details": INSPECTIONS[parsed.kind](parsed.path, parsed.name)}
    except TightropeError as error:
        answer = {"error": {"type": type(error).__name__, "message": str(error)}}
    except MemoryError:
        message = "reading the file takes more memory than the server allows"
        answer = {"error": {"type": "ResourceLimitError", "message": message}}
    sys.stdout.write(json.dumps(answer, allow_nan=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
