"""What fuzzing counts: executions, what breaks a reader, what hangs, what ends the process."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.service import fuzz
from benchmarks.service.guided import last_example, mutator
from benchmarks.service.tally import LOADED, Tally
from tests.fuzz.targets import TARGETS

# A reader that breaks on one letter, is stuck on another, and ends its process on a third; and as
# many examples of it as it takes until all of that has happened.
GUIDED = """
import os, sys, time
from contextlib import contextmanager
from multiprocessing import Pipe, Value
from pathlib import Path
from tests.fuzz import targets
from tests.fuzz.mutations import damage_bytes
from benchmarks.service import guided
guided.HANG_SECONDS = 1

@contextmanager
def use(folder):
    def read(content):
        if content.startswith(b"bk"):
            raise KeyError("odd")
        if content.startswith(b"bh"):
            time.sleep(60)
        if content.startswith(b"bd"):
            os.abort()
        if content.startswith(b"b"):
            raise ValueError
    yield read

def seeds():
    return [b"a good one"]

def damage(chance, content):
    return chance.choice([b"b", b"bk", b"bh"{}]) + content[:3]

targets.TARGETS["odd"] = targets.Target(seeds, damage, use, (TypeError,))
ours, theirs = Pipe(duplex=False)
process = os.fork()
if process == 0:
    guided.guided("odd", Path(sys.argv[1]), 0, 4.0, Value("q", 0), theirs)
theirs.close()
try:
    print(ours.recv(), ours.recv())
except EOFError:
    print("died", os.waitpid(process, 0)[1] != 0)
"""


def test_guided_examples_are_counted_and_kept(tmp_path: Path) -> None:
    """Needs atheris, which is no dependency of the tests."""
    pytest.importorskip("atheris")
    told = _guided(tmp_path, "")
    assert "KeyError in" in told
    assert "ValueError in" in told
    assert "hangs=[]" not in told
    found = {path.read_bytes()[:2] for path in (tmp_path / "found").iterdir()}
    assert {b"bk", b"bh"} <= found
    assert (tmp_path / "kept").is_dir()


def test_what_ends_the_process_is_kept_too(tmp_path: Path) -> None:
    pytest.importorskip("atheris")
    assert "died True" in _guided(tmp_path, ', b"bd"')
    assert Path(last_example(tmp_path)).read_bytes().startswith(b"bd")


def _guided(folder: Path, more: str) -> str:
    command = [sys.executable, "-c", GUIDED.replace("{}", more), str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout


def test_atheris_has_to_be_installed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fuzz, "available", lambda: False)
    with pytest.raises(SystemExit) as ended:
        fuzz.run(["--engine", "atheris", "npz"])
    assert ended.value.code == 2
    assert "pip install atheris" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        fuzz.run(["nothing"])
    assert "no reader ['nothing']; choose from onnx" in capsys.readouterr().err


def test_a_reader_that_holds_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    fuzz.run(["vnnlib", "--seconds", "0.3"])
    _, row, together = capsys.readouterr().out.splitlines()
    name, executions, _accepted, crashes, hangs = row.split()[:5]
    assert (name, crashes, hangs) == ("vnnlib", "0", "0")
    assert together.split() == ["together", executions, "0", "0"]
    assert int(executions) > 0


def test_loading_takes_no_time_of_the_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is slow to begin is neither stuck nor dead."""
    monkeypatch.setattr(fuzz, "HANG_SECONDS", 0)
    monkeypatch.setattr(fuzz, "_SPARE_SECONDS", 1)
    engine = fuzz._Engine(slow_to_load, str)
    assert fuzz._fuzzed(engine, seconds=0.1, first=0) == Tally(3)


def slow_to_load(first: int, _seconds: float, current: Any, told: Connection) -> None:  # noqa: ANN401
    time.sleep(8)
    told.send(LOADED)
    current.value = first + 2
    told.send(Tally(3))


def cut(content: bytes, most: int) -> bytes:
    """Stand in for a change of libFuzzer: a sign, and what fits."""
    return (b"!" + content)[:most]


@pytest.mark.parametrize("name", ["onnx", "vnnlib", "npz", "proof"])
@given(seed=st.integers(0, 2**31), most=st.integers(1, 5000), plain=st.binary(max_size=40))
def test_examples_are_changed_by_format_and_by_bytes(
    name: str, seed: int, most: int, plain: bytes
) -> None:
    target = TARGETS[name]
    change = mutator(target, cut)
    for content in (target.seeds()[0], plain):
        changed = change(content, most, seed)
        assert len(changed) <= most
        chance = random.Random(seed)  # noqa: S311 (chance, no secret)
        if chance.random() < 0.5:
            assert changed == cut(content, most)
        elif content is not plain:
            damaged = target.damage(chance, content)
            assert changed == (damaged if len(damaged) <= most else cut(content, most))


def test_processes_are_added_up() -> None:
    tally = Tally()
    tally.note_death(-signal.SIGSEGV, "example 3")
    tally.note_death(-signal.SIGSEGV, "example 9")
    tally.note_death(-signal.SIGKILL, "example 4")
    tally.add(Tally(7, 2, ["example 8"], {"KeyError": "example 5"}, 0.5, kept=11))
    assert tally == Tally(
        7,
        2,
        ["example 4", "example 8"],
        {"the process ended with status -11": "example 3", "KeyError": "example 5"},
        0.5,
        kept=11,
    )


def test_the_example_that_ended_a_process_is_kept(tmp_path: Path) -> None:
    assert last_example(tmp_path) == "no example"
    (tmp_path / "last").write_bytes(b"odd")
    assert Path(last_example(tmp_path)).read_bytes() == b"odd"
