"""Untrusted files are looked at by a process that can be spared."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from models.errors import TightropeError
from tests.helpers.imports import ROOT
from tests.helpers.service import service_settings
from tests.helpers.small_files import write_data, write_mlp
from worker.inspection import inspect_dataset, inspect_network
from worker.inspector import InspectorUnavailableError, RejectedFileError, SubprocessInspector


@contextmanager
def inspecting(folder: Path, **changes: object) -> Iterator[SubprocessInspector]:
    made = SubprocessInspector(service_settings(folder, **changes))
    yield made
    made.close()


@pytest.fixture(scope="module")
def inspector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SubprocessInspector]:
    folder = tmp_path_factory.mktemp("inspector")
    with inspecting(folder, inspection_seconds=60, inspection_memory_bytes=2**28) as made:
        yield made


def network_file(folder: Path) -> Path:
    layers = [(np.eye(3, 4), np.zeros(3)), (np.ones((2, 3)), np.zeros(2))]
    return write_mlp(folder / "n.onnx", layers)


def test_a_good_network_is_described(tmp_path: Path) -> None:
    details = inspect_network(network_file(tmp_path), "n.onnx")
    assert details["input_shape"] == [1, 4]
    assert details["outputs"] == 2
    assert details["parameters"] == 3 * 4 + 3 + 2 * 3 + 2
    assert details["operators"]["Relu"] == 1
    assert details["nodes"] == sum(details["operators"].values())


def test_a_good_data_set_is_described(tmp_path: Path) -> None:
    path = write_data(tmp_path / "d.npz", np.asarray([[0, 51], [102, 255]], np.uint8), [0, 4])
    details = inspect_dataset(path, "d.npz")
    assert details == {
        "count": 2,
        "input_shape": [2],
        "classes": 5,
        "minimum": 0.0,
        "maximum": 1.0,
    }


def test_the_process_answers_as_the_function_does(
    tmp_path: Path, inspector: SubprocessInspector
) -> None:
    path = network_file(tmp_path)
    assert inspector.inspect("network", path, "n.onnx") == inspect_network(path, "n.onnx")


def unsupported(folder: Path, *operators: str) -> Path:
    """Write a network of these operators one after the other; by default a single odd one."""
    nodes = []
    for place, operator in enumerate(operators or ("Einsum",)):
        more = {"equation": "ij,ij->ij"} if operator == "Einsum" else {}
        reads = [f"v{place}"] * (2 if operator == "Einsum" else 1)
        name = f"odd{place or ''}"
        nodes.append(helper.make_node(operator, reads, [f"v{place + 1}"], name=name, **more))
    value = helper.make_tensor_value_info
    ends = [value(f"v{end}", TensorProto.FLOAT, [1, 2]) for end in (0, len(nodes))]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "u.onnx")
    return folder / "u.onnx"


def test_a_bad_file_comes_back_with_its_reason(
    tmp_path: Path, inspector: SubprocessInspector
) -> None:
    with pytest.raises(RejectedFileError, match="Einsum") as caught:
        inspector.inspect("network", unsupported(tmp_path), "u.onnx")
    assert caught.value.kind == "UnsupportedOperatorError"
    assert "'odd'" in str(caught.value)


def pickled(path: Path) -> Path:
    np.savez(path, x=np.asarray([{"a": 1}], dtype=object), y=np.asarray([0]))
    return path


def empty(path: Path) -> Path:
    return write_data(path, np.zeros((0, 4), np.float32), np.zeros(0, np.int64))


def nan(path: Path) -> Path:
    return write_data(path, np.asarray([[0.5, np.nan]], np.float32), [0])


@pytest.mark.parametrize("make", [pickled, empty, nan])
def test_bad_data_sets_are_refused(tmp_path: Path, make: object) -> None:
    assert callable(make)
    with pytest.raises(TightropeError):
        inspect_dataset(make(tmp_path / "d.npz"), "d.npz")


@pytest.mark.parametrize("content", [b"", b"not onnx at all", b"\x08\x08\x12"])
def test_what_is_no_network_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "n.onnx"
    path.write_bytes(content)
    with pytest.raises(TightropeError):
        inspect_network(path, "n.onnx")


def test_a_file_that_wants_too_much_memory_is_refused(
    tmp_path: Path, inspector: SubprocessInspector
) -> None:
    path = tmp_path / "d.npz"
    np.savez_compressed(path, x=np.zeros((64, 2**21), np.float32), y=np.zeros(64, int))
    assert path.stat().st_size < 2**20
    with pytest.raises(RejectedFileError, match=r"memory|stopped") as caught:
        inspector.inspect("dataset", path, "d.npz")
    assert caught.value.kind in {"ResourceLimitError", "DataError"}


# Stands for the process that forks, with a child that does something else to the file.
STAND_IN = """
import gc, os, sys, time
from worker import inspection
inspection.INSPECTIONS = {"network": lambda path, name: %s}
inspection.warm_up = lambda: None
sys.exit(inspection.main(sys.argv[1:]))
"""


def stand_in(monkeypatch: pytest.MonkeyPatch, action: str) -> None:
    def command(_self: SubprocessInspector, address: Path) -> list[str]:
        program = [sys.executable, "-c", STAND_IN % action]
        return [*program, str(address), f"--parent={os.getpid()}"]

    monkeypatch.setattr(SubprocessInspector, "_command", command)


@pytest.mark.parametrize("action", ["os.abort()", "time.sleep(600)"])
def test_a_reader_that_crashes_or_hangs_is_the_files_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    stand_in(monkeypatch, action)
    with inspecting(tmp_path, inspection_seconds=0.5) as inspector:
        for _ in range(2):  # the next file finds the inspector well
            with pytest.raises(RejectedFileError, match=r"crashed its reader .* 0\.5 s") as caught:
                inspector.inspect("network", tmp_path / "n", "n")
            assert caught.value.kind == "ResourceLimitError"


def test_readers_do_not_walk_through_what_was_loaded_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(monkeypatch, "{'kept': gc.get_freeze_count()}")
    with inspecting(tmp_path) as inspector:
        assert inspector.inspect("network", tmp_path / "n", "n")["kept"] > 1000


def test_an_inspector_that_dies_is_replaced(tmp_path: Path, inspector: SubprocessInspector) -> None:
    path = network_file(tmp_path)
    first = inspector.inspect("network", path, "n.onnx")
    assert inspector._process is not None
    inspector._process.kill()
    inspector._process.wait()
    assert inspector.inspect("network", path, "n.onnx") == first


def test_an_inspector_that_cannot_start_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = [sys.executable, "-c", ""]
    monkeypatch.setattr(SubprocessInspector, "_command", lambda *_: ends)
    monkeypatch.setattr("worker.inspector._START_SECONDS", 0.5)
    with (
        inspecting(tmp_path) as inspector,
        pytest.raises(InspectorUnavailableError, match="does not start"),
    ):
        inspector.inspect("network", tmp_path / "n", "n")


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    with inspecting(tmp_path) as inspector:
        inspector.start()
        folder, process = inspector._folder, inspector._process
        assert folder is not None
        assert folder.is_dir()
        assert folder.stat().st_mode & 0o077 == 0
    assert process is not None
    assert process.poll() is not None
    assert not folder.exists()


def test_the_process_knows_no_secrets(
    tmp_path: Path, inspector: SubprocessInspector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIGHTROPE_DATABASE_URL", "postgresql://u:secret@h/d")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    assert "secret" not in str(inspector._environment())


def test_limits_hold(tmp_path: Path) -> None:
    """In a process of its own: limits cannot be taken back."""
    script = (
        "import resource\n"
        "from worker.inspection import limit\n"
        "limit(memory_bytes=2**28, seconds=7)\n"
        "print(resource.getrlimit(resource.RLIMIT_CPU)[0])\n"
        f"try:\n  open({str(tmp_path / 'large')!r}, 'wb').write(b'x' * 2**20)\n"
        "except OSError as error: print(type(error).__name__)\n"
        "try:\n  bytearray(2**30)\nexcept MemoryError: print('MemoryError')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    seconds, *errors = done.stdout.split()
    assert 7 <= int(seconds) < 60
    assert errors == ["OSError", "MemoryError"]


def test_layers_are_described_in_their_order(tmp_path: Path) -> None:
    details = inspect_network(network_file(tmp_path), "n.onnx")
    layers = details["layers"]
    assert [one["operator"] for one in layers if one["parameters"]] == ["Linear", "Linear"]
    (relu,) = [one for one in layers if one["operator"] == "Relu"]
    assert (relu["neurons"], relu["shape"]) == (3, [1, 3])
    assert details["neurons"] == sum(one["neurons"] for one in layers) == 3
    assert details["parameters"] == sum(one["parameters"] for one in layers)
    assert details["nodes"] == len(layers)


def test_a_tensor_that_is_shared_counts_once(tmp_path: Path) -> None:
    value, floats = helper.make_tensor_value_info, TensorProto.FLOAT
    weights = onnx.numpy_helper.from_array(np.eye(2, dtype=np.float32), "w")
    nodes = [helper.make_node("MatMul", [a, "w"], [b]) for a, b in (("x", "z"), ("z", "y"))]
    ends = [value("x", floats, [1, 2])], [value("y", floats, [1, 2])]
    graph = helper.make_graph(nodes, "g", *ends, [weights])
    opset = helper.make_opsetid("", 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), tmp_path / "s.onnx")
    layers = inspect_network(tmp_path / "s.onnx", "s.onnx")["layers"]
    assert [one["parameters"] for one in layers] == [0, 4, 0]


def test_everything_unsupported_is_named_at_once(
    tmp_path: Path, inspector: SubprocessInspector
) -> None:
    path = unsupported(tmp_path, "Einsum", "Relu", "Det")
    with pytest.raises(RejectedFileError, match="Einsum") as caught:
        inspector.inspect("network", path, "u.onnx")
    assert [(one["node"], one["operator"]) for one in caught.value.parts] == [
        ("odd", "Einsum"),
        ("odd2", "Det"),
    ]
