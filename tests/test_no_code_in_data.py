"""Nothing that is read can run: no pickle, no eval, no shell, no path out of a request."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from store.blobs import BlobStore
from store.errors import NotFoundError
from tests.helpers.imports import ROOT, imports_of, python_files

OURS = [
    path.parent.name
    for path in sorted(ROOT.glob("*/__init__.py"))
    if path.parent.name not in {"tests", "benchmarks", "examples"}
]
FORBIDDEN_MODULES = {
    "pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal",
    "jsonpickle", "yaml",
}  # fmt: skip
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}
# Readers that unpickle unless a word keeps them from it.
SAFE_WORDS = {
    ("np", "load"): ("allow_pickle", False),
    ("numpy", "load"): ("allow_pickle", False),
    ("torch", "load"): ("weights_only", True),
}
# What may know of paths in the process that serves HTTP: names of uploads, for people, and a proof
# of the store that another process is to check, in a folder of its own.
MAY_KNOW_PATHS = {"api/receiving.py", "api/openapi.py", "api/proving.py"}


def sources(packages: list[str]) -> Iterator[tuple[str, ast.Module]]:
    for package in packages:
        for path in python_files(package):
            yield path.as_posix(), ast.parse((ROOT / path).read_text(encoding="utf-8"))


def calls(tree: ast.Module) -> Iterator[tuple[int, str, ast.Call]]:
    """Yield line, dotted name and node of each call of a name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield node.lineno, ast.unparse(node.func), node


def unsafe(file: str, source: str) -> list[str]:
    """Return what could run data, with its place."""
    found = [
        f"{entry.file}:{entry.line} imports {entry.module}"
        for entry in imports_of(source, file)
        if entry.top in FORBIDDEN_MODULES
    ]
    for line, name, node in calls(ast.parse(source)):
        if name in FORBIDDEN_CALLS:
            found.append(f"{file}:{line} calls {name}")
        words = {word.arg: ast.unparse(word.value) for word in node.keywords}
        if words.get("shell", "False") != "False":
            found.append(f"{file}:{line} asks for a shell")
        if words.get("allow_pickle", "False") != "False":
            found.append(f"{file}:{line} allows pickles")
        key = tuple(name.split("."))
        if len(key) == 2 and key in SAFE_WORDS:
            word, value = SAFE_WORDS[key[0], key[1]]
            if words.get(word) != str(value):
                found.append(f"{file}:{line} calls {name} without {word}={value}")
    return found


@pytest.mark.parametrize("package", OURS)
def test_nothing_that_is_read_can_run(package: str) -> None:
    files = [path.as_posix() for path in python_files(package)]
    assert files
    assert [
        entry for file in files for entry in unsafe(file, (ROOT / file).read_text("utf-8"))
    ] == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from torch.serialization import x; import joblib.y",
        "eval(text)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "subprocess.run(words, shell=True)",
        "np.save(path, x, allow_pickle=flag)",
    ],
)
def test_the_check_sees_each_way_to_run_data(source: str) -> None:
    assert len(unsafe("x.py", source)) >= 1


@pytest.mark.parametrize(
    "source",
    ["np.load(p, allow_pickle=False)", "torch.load(p, weights_only=True)", "re.compile(x)"],
)
def test_the_check_lets_the_safe_ways_pass(source: str) -> None:
    assert unsafe("x.py", source) == []


def test_the_process_that_serves_makes_no_path_of_a_request() -> None:
    """Files are found by the hash of their content; routes and schemas name none."""
    found = {
        entry.file
        for file in python_files("api")
        for entry in imports_of((ROOT / file).read_text("utf-8"), file.as_posix())
        if entry.top in {"pathlib", "os", "shutil", "tempfile", "glob"}
    }
    assert found <= MAY_KNOW_PATHS
    for file, tree in sources(["api"]):
        names = [name for _, name, _ in calls(tree)]
        assert not {"open", "os.open", "os.path.join"} & set(names), file


def test_the_store_takes_hashes_only(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    for name in ("../../etc/passwd", "/etc/passwd", "a" * 63, "..", "", "A" * 64, "a/../" * 13):
        for use in (store.path, store.delete):
            with pytest.raises(NotFoundError):
                use(name)
