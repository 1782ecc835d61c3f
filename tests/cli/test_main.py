"""The entry point: statuses, help, version, and what it must not load."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import click
import pytest

from cli import commands
from cli.main import main
from cli.options import METHOD_NAMES
from solvers.methods import Method

COMMANDS = ["certify", "compare", "radius", "verify", "check", "train", "tune", "bench", "serve"]
GROUPS = ["keys", "projects"]


def raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Make `tightrope bench` raise an error."""

    def run(_arguments: object) -> int:
        raise error

    fake = ModuleType("cli.bench")
    fake.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cli.bench", fake)
    monkeypatch.setattr("cli.bench", fake, raising=False)


@pytest.fixture
def instances(tmp_path: Path) -> str:
    path = tmp_path / "instances.csv"
    path.write_text("a.onnx,a.vnnlib,1\n")
    return str(path)


@pytest.mark.parametrize("arguments", [["--version"], *([name, "--version"] for name in COMMANDS)])
def test_version_everywhere(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    assert capsys.readouterr().out.startswith("tightrope 0.")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_lists_options_and_their_units(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"tightrope {name}" in text
    if name != "serve":
        for option in ("--device", "--seed", "--quiet", "--json FILE"):
            assert option in text
    if name not in ("serve", "check", "train", "tune"):
        assert "--timeout SECONDS" in text


def test_help_and_version_load_neither_torch_nor_a_solver() -> None:
    script = (
        "import sys; from cli.main import main\n"
        "assert main(['certify', '--help']) == 0 and main(['--version']) == 0\n"
        "heavy = {'torch', 'numpy', 'onnx', 'onnxruntime', 'highspy', 'fastapi', 'celery'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)


def test_idle_threads_of_torch_are_told_to_sleep() -> None:
    script = (
        "import os; from cli.main import main; main(['--version'])\n"
        "print(os.environ['OMP_WAIT_POLICY'])"
    )
    run = subprocess.run(
        [sys.executable, "-c", script],
        check=True,
        capture_output=True,
        text=True,
        env={"PATH": "", "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert run.stdout.split()[-1] == "passive"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nonsense"], "No such command"),
        (["verify"], "Missing argument"),
        (["verify", "missing.onnx", "missing.vnnlib"], "does not exist"),
        (["bench", "--devise", "cpu"], "No such option"),
        (["serve", "--port", "70000"], "70000"),
    ],
)
def test_bad_usage_is_status_2(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert words in captured.err
    assert captured.out == ""


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (KeyboardInterrupt(), 130, "interrupted; nothing was written"),
        (click.Abort(), 130, "interrupted; nothing was written"),
        (OSError(errno.ENOSPC, "No space left on device"), 3, "No space left on device"),
        (MemoryError(), 3, "out of memory"),
        (RuntimeError("odd"), 3, "internal error (RuntimeError: odd)"),
        (click.UsageError("not like this"), 2, "not like this"),
    ],
)
def test_what_a_command_raises_decides_the_status(
    error: BaseException,
    status: int,
    words: str,
    instances: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    raising(monkeypatch, error)
    assert main(["bench", instances]) == status
    assert words in capsys.readouterr().err


def test_a_traceback_is_shown_where_it_is_asked_for(
    instances: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    raising(monkeypatch, RuntimeError("odd"))
    monkeypatch.setenv("TIGHTROPE_TRACEBACK", "1")
    assert main(["bench", instances]) == 3
    assert "in run" in caplog.text


def test_a_reader_that_leaves_is_no_failure(instances: str) -> None:
    script = (
        "import sys, cli.main, types\n"
        "fake = types.ModuleType('cli.bench')\n"
        "def run(arguments):\n"
        "    import click\n"
        "    for _ in range(100000): click.echo('a line that nobody reads')\n"
        "fake.run = run\n"
        "sys.modules['cli.bench'] = fake\n"
        f"sys.exit(cli.main.main(['bench', {instances!r}]))"
    )
    run = subprocess.run(
        ["bash", "-c", '"$0" -c "$1" | head -1; exit "${PIPESTATUS[0]}"', sys.executable, script],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "a line that nobody reads\n", "")


def test_serve_passes_its_options_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    fake = ModuleType("cli.serve")
    fake.serve = lambda *arguments: asked.append(arguments) or 3  # type: ignore[attr-defined,func-returns-value]
    monkeypatch.setitem(sys.modules, "cli.serve", fake)
    assert main(["serve", "--port", "0", "--data-dir", str(tmp_path)]) == 3
    assert asked == [("127.0.0.1", 0, tmp_path)]


def test_the_options_know_every_method() -> None:
    assert tuple(method.value for method in Method) == METHOD_NAMES
    assert set(commands.tightrope.commands) - {"gate"} == {*COMMANDS, *GROUPS}
