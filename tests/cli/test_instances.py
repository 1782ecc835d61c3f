"""Lists of instances, with a header and without."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.instances import read_instances
from models.errors import InvalidInputError


@pytest.fixture
def write(tmp_path: Path) -> Path:
    return tmp_path / "instances.csv"


def test_a_header_names_the_columns_in_any_order(write: Path) -> None:
    write.write_text(
        "\ufeffvnnlib,source,onnx,expected,timeout_s\n"
        "vnnlib/a.vnnlib,somewhere,onnx/a.onnx,sat,60\n"
        "\n"
        "vnnlib/b.vnnlib,,onnx/b.onnx,,0.5\n",
        encoding="utf-8",
    )
    first, second = read_instances(write)
    assert (first.onnx, first.vnnlib) == ("onnx/a.onnx", "vnnlib/a.vnnlib")
    assert first.onnx_path == write.parent / "onnx/a.onnx"
    assert (first.timeout_seconds, first.expected) == (60.0, "sat")
    assert (second.timeout_seconds, second.expected) == (0.5, None)


def test_without_a_header_the_columns_are_those_of_the_competition(write: Path) -> None:
    write.write_text("onnx/a.onnx,vnnlib/a.vnnlib,116\nonnx/b.onnx, vnnlib/b.vnnlib ,20\n")
    instances = read_instances(write)
    assert [instance.vnnlib for instance in instances] == ["vnnlib/a.vnnlib", "vnnlib/b.vnnlib"]
    assert [instance.timeout_seconds for instance in instances] == [116.0, 20.0]
    assert {instance.expected for instance in instances} == {None}


def test_a_packed_file_stands_in_for_one_that_is_not_there(write: Path) -> None:
    (write.parent / "a.vnnlib.gz").touch()
    write.write_text("a.onnx,a.vnnlib,1\n")
    assert read_instances(write)[0].vnnlib_path.name == "a.vnnlib.gz"
    (write.parent / "a.vnnlib").touch()
    assert read_instances(write)[0].vnnlib_path.name == "a.vnnlib"


def test_a_timeout_of_the_command_replaces_those_of_the_file(write: Path) -> None:
    write.write_text("a.onnx,a.vnnlib\nb.onnx,b.vnnlib,nonsense\n")
    assert [entry.timeout_seconds for entry in read_instances(write, 7.0)] == [7.0, 7.0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "lists no instance"),
        ("onnx,vnnlib,timeout_s\n", "lists no instance"),
        ("a.onnx,a.vnnlib,soon\n", "line 1: the timeout is 'soon'"),
        ("a.onnx,a.vnnlib,1\na.onnx,a.vnnlib,0\n", "line 2: the timeout is '0'"),
        ("a.onnx,a.vnnlib,nan\n", "the timeout is 'nan'"),
        ("a.onnx\n", "line 1: no network or no specification"),
        ("onnx,vnnlib,timeout_s,expected\na,b,1,perhaps\n", "line 2: expected is 'perhaps'"),
        ("a.onnx,a.vnnlib\n", "the timeout is ''"),
    ],
)
def test_a_list_that_cannot_be_read_names_the_line(write: Path, text: str, words: str) -> None:
    write.write_text(text)
    with pytest.raises(InvalidInputError, match=words):
        read_instances(write)


def test_a_file_that_is_no_text_is_refused(write: Path) -> None:
    write.write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(InvalidInputError, match="not a CSV file"):
        read_instances(write)
