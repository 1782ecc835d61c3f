"""Looks at untrusted files, each in a process of its own: `python -m worker.inspection SOCKET`.

Loading torch takes seconds, so this process loads everything trusted once and then forks for every
file. The child limits its own memory, time and files before it reads a byte of what was uploaded,
answers, and ends. A request is one line of JSON, `{kind, path, name, memory_bytes, seconds}`, or of
the kinds `proof` and `counterexample` what `worker.proofs` and `worker.replays` take in place of
path and name. The answer is `{"details": …}` for a good file, `{"error": {"type", "message",
"parts"}}` for a bad one, or nothing when the child died of the file.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import socketserver
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from models.data import load_dataset
from models.errors import TightropeError
from models.network import Network
from models.onnx_import import load_network
from worker.collecting import loading
from worker.describing import layers_of, neurons_of, refusal
from worker.proofs import check_answer
from worker.replays import replay_answer

__all__ = [
    "answer",
    "inspect_dataset",
    "inspect_network",
    "limit",
    "main",
    "network_details",
    "warm_up",
]

_STATUS = Path("/proc/self/status")
_LARGEST_FILE_BYTES = 2**16


def inspect_network(path: Path, name: str) -> dict[str, Any]:
    """Return what people and later checks want to know about a network.

    Raises:
        TightropeError: It cannot be imported.
    """
    return network_details(load_network(path, name=name))


def network_details(network: Network) -> dict[str, Any]:
    """Return what people and later checks want to know about a network that is loaded."""
    operators = Counter(type(node.operator).__name__ for node in network.graph.nodes)
    return {
        "input_shape": list(network.input_shape),
        "output_shape": list(network.output_shape),
        "outputs": network.output_size,
        "parameters": sum(value.numel() for value in network.parameters.values()),
        "nodes": len(network.graph.nodes),
        "operators": dict(sorted(operators.items())),
        "notes": list(network.notes),
        "neurons": sum(neurons_of(network, node.name) for node in network.graph.nodes),
        "layers": layers_of(network),
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


# Requests that are about an answer and not about an uploaded file.
JUDGEMENTS: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "proof": check_answer,
    "counterexample": replay_answer,
}


def limit(*, memory_bytes: int, seconds: float) -> None:
    """Limit this process, for good.

    Args:
        memory_bytes: Address space beyond what is in use now.
        seconds: Of processor time, and of wall time.
    """
    spent = resource.getrusage(resource.RUSAGE_SELF)
    whole = max(1, round(spent.ru_utime + spent.ru_stime + seconds))
    space = _address_space_bytes() + memory_bytes
    resource.setrlimit(resource.RLIMIT_AS, (space, space))
    resource.setrlimit(resource.RLIMIT_CPU, (whole, whole + 1))
    # Room for Python's own look at its temporary folder, not for filling a disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (_LARGEST_FILE_BYTES, _LARGEST_FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.setitimer(signal.ITIMER_REAL, seconds)  # its signal ends the process


def _address_space_bytes() -> int:
    """Return the address space in use; torch alone reserves several GiB without touching them."""
    for line in _STATUS.read_text().splitlines():
        if line.startswith("VmSize:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"{_STATUS} does not state VmSize")


def answer(request: Mapping[str, Any]) -> dict[str, Any]:
    """Inspect the file of a request; to be called in a process that can be spared."""
    limit(memory_bytes=request["memory_bytes"], seconds=request["seconds"])
    if request["kind"] in JUDGEMENTS:
        return _judged(request)
    try:
        return {"details": INSPECTIONS[request["kind"]](Path(request["path"]), request["name"])}
    except TightropeError as error:
        return {"error": refusal(error, Path(request["path"]))}
    except MemoryError:
        message = "reading the file takes more memory than the server allows"
        return {"error": {"type": "ResourceLimitError", "message": message}}


def _judged(request: Mapping[str, Any]) -> dict[str, Any]:
    """Check the proof of a request, or run its counterexample again."""
    try:
        return {"details": JUDGEMENTS[request["kind"]](request)}
    except TightropeError as error:
        return {"error": {"type": type(error).__name__, "message": str(error)}}
    except MemoryError:
        message = f"checking the {request['kind']} takes more memory than the server allows"
        return {"error": {"type": "ResourceLimitError", "message": message}}


class _Handler(socketserver.StreamRequestHandler):
    """One request, in a child of the server."""

    def handle(self) -> None:
        request = json.loads(self.rfile.readline())
        self.wfile.write(json.dumps(answer(request), allow_nan=False).encode())


class _Server(socketserver.ForkingMixIn, socketserver.UnixStreamServer):
    """Forks for every request, and ends with the process that started it."""

    max_children = 8

    def __init__(self, path: str, parent: int) -> None:
        self._parent = parent
        super().__init__(path, _Handler)

    def service_actions(self) -> None:
        super().service_actions()
        if os.getppid() != self._parent:
            raise SystemExit(0)


def warm_up() -> None:
    """Load what the first network would load, in the process that later ones are forked from."""
    value, floats = onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    weights = onnx.numpy_helper.from_array(np.eye(2, dtype=np.float32), "w")
    nodes = [
        onnx.helper.make_node("Gemm", ["x", "w"], ["z"]),
        onnx.helper.make_node("Relu", ["z"], ["y"]),
    ]
    ends = value("x", floats, [1, 2]), value("y", floats, [1, 2])
    graph = onnx.helper.make_graph(nodes, "warm-up", [ends[0]], [ends[1]], [weights])
    opset = onnx.helper.make_opsetid("", 17)
    model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8)
    load_network(model.SerializeToString(), name="warm-up")


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve on a Unix socket until the parent process ends; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m worker.inspection", description=__doc__)
    parser.add_argument("socket")
    parser.add_argument("--parent", type=int, required=True)
    parsed = parser.parse_args(arguments)
    with loading():
        warm_up()
    with _Server(parsed.socket, parsed.parent) as server:
        server.serve_forever(poll_interval=0.25)
    return 0


if __name__ == "__main__":
    sys.exit(main())
