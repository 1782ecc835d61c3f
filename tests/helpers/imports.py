"""What Python files import, read from their syntax trees."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Import:
    """One imported module: where, and its dotted name."""

    file: str
    line: int
    module: str

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.module}"


def imports_of(source: str, file: str) -> Iterator[Import]:
    """Yield every import of a source text, at any depth, also by `import_module("name")`."""
    package = file.removesuffix(".py").split("/")[:-1]
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                for name in names:
                    yield Import(file, node.lineno, name.name)
            case ast.ImportFrom(module=module, level=0) if module:
                yield Import(file, node.lineno, module)
            case ast.ImportFrom(module=module, level=level):
                base = package[: len(package) - level + 1]
                yield Import(file, node.lineno, ".".join([*base, *([module] if module else [])]))
            case ast.Call(
                func=ast.Name(id="import_module" | "__import__")
                | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                yield Import(file, node.lineno, name)


def python_files(package: str) -> list[Path]:
    """Return the Python files of a top-level package, relative to the repository."""
    return sorted(path.relative_to(ROOT) for path in (ROOT / package).rglob("*.py"))


def all_imports(package: str) -> list[Import]:
    """Return every import of a top-level package."""
    return [
        found
        for path in python_files(package)
        for found in imports_of((ROOT / path).read_text(encoding="utf-8"), path.as_posix())
    ]
