"""What computes runs in a process of its own, and may die there."""

from __future__ import annotations

import math
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.faulty_engine import FAULTY_ENGINE
from tests.helpers.imports import ROOT
from tests.helpers.processes import alive
from tests.helpers.service import SETTINGS, service_settings
from tests.helpers.small_files import write_three, write_two_class
from worker.certification import certify
from worker.errors import EngineDiedError, RemoteError
from worker.frames import Frame, FrameError, receive, send, work_from_json, work_to_json
from worker.remote import EngineProcess
from worker.watch import HINTS, ending
from worker.work import CertificationWork

Ask = Callable[..., list[dict[str, Any]]]


def never() -> bool:
    return False


def work_of(folder: Path, count: int = 3, **changes: object) -> CertificationWork:
    return CertificationWork(
        network=folder / "n.onnx",
        network_name="n.onnx",
        dataset=folder / "d.npz",
        dataset_name="d.npz",
        settings={**SETTINGS, **changes},
        indices=list(range(count)),
        device="cpu",
    )


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    settings = service_settings(
        tmp_path_factory.mktemp("engine"), worker_memory_bytes=2**28, stop_seconds=0.5
    )
    with EngineProcess(settings, command=FAULTY_ENGINE) as made:
        yield made


@pytest.fixture
def ask(process: EngineProcess, tmp_path: Path) -> Ask:
    def answers(cancelled: Callable[[], bool] = never, **changes: object) -> list[dict[str, Any]]:
        return [dict(entry) for entry in process.certify(work_of(tmp_path, **changes), cancelled)]

    return answers


def test_answers_come_back(ask: Ask) -> None:
    found = ask()
    assert [entry["index"] for entry in found] == [0, 1, 2]
    assert {entry["worker"] for entry in found} != {os.getpid()}
    assert all(entry["kept"] > 1000 for entry in found), "collections walk through what was loaded"


@pytest.mark.parametrize(
    ("fault", "ended", "hint"),
    [
        ("segfault", "SIGSEGV", "a library it uses crashed"),
        ("abort", "SIGABRT", "gave up"),
        ("killed", "SIGKILL", "ran out of memory"),
        ("exit", "itself, with status 7", "status 7"),
    ],
)
def test_a_death_is_named_and_the_next_work_finds_a_new_process(
    ask: Ask, process: EngineProcess, tmp_path: Path, fault: str, ended: str, hint: str
) -> None:
    with pytest.raises(EngineDiedError, match=hint) as caught:
        ask(fault=fault)
    assert caught.value.ended == ended
    assert ended in str(caught.value)
    assert len(ask()) == 3


def test_what_came_before_a_death_is_kept(process: EngineProcess, tmp_path: Path) -> None:
    found = []
    with pytest.raises(EngineDiedError):
        for entry in process.certify(work_of(tmp_path, fault="segfault", at=2), never):
            found.append(entry["index"])
    assert found == [0, 1]


def test_too_little_memory_is_said(ask: Ask) -> None:
    with pytest.raises(MemoryError):
        ask(fault="memory")
    assert len(ask()) == 3


def test_errors_keep_their_kind_and_words(ask: Ask) -> None:
    with pytest.raises(RemoteError, match="input 1 holds NaN") as caught:
        ask(fault="refuse")
    assert caught.value.kind == "DataError"
    with pytest.raises(RuntimeError, match="OSError"):
        ask(fault="disk")


@pytest.mark.parametrize("fault", ["hang", "burn"])
def test_what_does_not_stop_when_told_is_ended(ask: Ask, fault: str) -> None:
    stop = threading.Event()
    threading.Timer(0.5, stop.set).start()
    assert [entry["index"] for entry in ask(stop.is_set, fault=fault)] == [0]
    assert len(ask()) == 3


def test_work_that_takes_far_too_long_is_ended(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.remote._LOADING_SECONDS", 0.5)
    with pytest.raises(EngineDiedError, match="far longer"):
        ask(fault="hang", timeout_seconds=0.01)
    with pytest.raises(EngineDiedError, match="SIGXCPU"):
        monkeypatch.setattr("worker.remote._longest", lambda _work: 1.0)
        monkeypatch.setattr("worker.remote._LOADING_SECONDS", 600.0)
        ask(fault="burn")


def test_work_nobody_listens_to_is_stopped(process: EngineProcess, tmp_path: Path) -> None:
    call = process.certify(work_of(tmp_path, count=1000, pause=0.02), never)
    first = next(iter(call))
    call.close()  # type: ignore[attr-defined]
    after = list(process.certify(work_of(tmp_path), never))
    assert [entry["index"] for entry in after] == [0, 1, 2]
    assert after[0]["worker"] == first["worker"]


def test_the_process_ends_with_its_worker(tmp_path: Path) -> None:
    process = EngineProcess(service_settings(tmp_path), command=FAULTY_ENGINE)
    process.start()
    assert process._process is not None
    child, connection = process._process, process._connection
    assert connection is not None
    connection.close()  # as the kernel does when the worker is killed
    assert child.wait(60) == 1
    assert not alive(child.pid)


def test_the_process_knows_no_secrets(
    process: EngineProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIGHTROPE_DATABASE_URL", "postgresql://u:secret@h/d")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    given = process._environment()
    assert "secret" not in str(given)
    assert given["CUDA_VISIBLE_DEVICES"] == "3"


def test_the_engines_answer_over_there_as_they_do_here(tmp_path: Path) -> None:
    """Every number survives the way, infinite ones too."""
    write_two_class(tmp_path / "n.onnx")
    write_three(tmp_path / "d.npz")
    work = work_of(tmp_path, methods=["ibp", "crown", "exact"])
    here = list(certify(work, never))
    with EngineProcess(service_settings(tmp_path)) as process:
        there = list(process.certify(work, never))
        layers = process.measure(work, never)
    timed = ("seconds",)
    for one, other in zip(here, there, strict=True):
        assert {k: v for k, v in one.items() if k not in timed} == {
            k: v for k, v in other.items() if k not in timed
        }
    assert layers is not None
    assert [layer["neurons"] for layer in layers] == [3]


def test_frames_carry_text_and_bytes() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        sent = Frame({"call": 1, "item": {"lower": -math.inf, "ä": "ö"}}, [b"", b"\0" * 70_000])
        thread = threading.Thread(target=send, args=(ours, sent))
        thread.start()
        assert receive(theirs) == sent
        thread.join()
        ours.close()
        assert receive(theirs) is None


@pytest.mark.parametrize(
    "content",
    [
        b"\0",
        b"\xff" * 12,
        (3).to_bytes(8, "big") + (0).to_bytes(4, "big") + b"[1]",
        (1).to_bytes(8, "big") + (0).to_bytes(4, "big") + b"{",
        (2).to_bytes(8, "big") + (1).to_bytes(4, "big") + b"{}" + b"\xff" * 8,
        (2).to_bytes(8, "big") + (9).to_bytes(4, "big") + b"{}",
        (90_000).to_bytes(8, "big") + (0).to_bytes(4, "big") + b"[" * 90_000,
    ],
)
def test_what_is_no_frame_is_refused(content: bytes) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        with ours:
            ours.sendall(content)
        with pytest.raises(FrameError):
            receive(theirs)


def test_work_survives_the_way(tmp_path: Path) -> None:
    work = work_of(tmp_path)
    assert work_from_json(CertificationWork, work_to_json(work)) == work


def test_signals_that_are_hinted_at_exist() -> None:
    assert {signal.Signals(number).name for number in HINTS} >= {"SIGKILL", "SIGSEGV"}
    assert ending(-signal.SIGRTMIN - 3)[0] == f"signal {signal.SIGRTMIN + 3}"
    assert ending(None) == ("nothing that is known", "")


def test_the_process_loads_neither_store_nor_broker() -> None:
    """It knows no database, and starts the sooner."""
    heavy = ("sqlalchemy", "celery", "kombu", "store", "fastapi")
    script = (
        "import sys, worker.engine, worker.certification, worker.trainer\n"
        f"print([name for name in sys.modules if name.partition('.')[0] in {heavy!r}])"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"
