"""Readers of untrusted input: good files, a way to damage them, and what each may raise."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.data import DataLimits, load_dataset, load_source
from models.errors import TightropeError
from models.onnx_file.limits import ImportLimits
from models.onnx_import import load_network
from solvers.proof import ProofError, check_proof
from solvers.vnnlib import VnnlibLimits, read_vnnlib
from tests.fuzz import seeds
from tests.fuzz.mutations import (
    damage_bytes,
    damage_json,
    damage_npz,
    damage_onnx,
    damage_proof,
    damage_text,
)
from training.checkpoint import FILE_NAME, read_checkpoint

__all__ = ["TARGETS", "Target", "attempt"]

Damage = Callable[[random.Random, bytes], bytes]
_SMALL = DataLimits(max_bytes=2**20)
_NETWORKS = ImportLimits(nodes=500, elements=2**20, activations=2**18, file_bytes=2**20)
_SPECIFICATIONS = VnnlibLimits(
    size_bytes=2**18, branches=2000, comparisons=20_000, coefficients=2**18
)
_LANGUAGE = (
    "( ) and or <= >= < > = + - * / assert declare-const declare-fun Real X_0 X_1 X_9 Y_0 Y_1 "
    '|X_0| 0 1 -1 1e400 1e-400 0.1 -.5 1.e5 NaN inf 1_0 ; " | \\ set-logic check-sat '
    "X_99999999999999 X_01 exists let true distinct"
)


@dataclass(frozen=True)
class Target:
    """One reader.

    Attributes:
        seeds: Returns good inputs.
        damage: Changes one.
        use: Opens the reader, given a folder for it alone; what comes of that reads one input.
        documented: What it may raise.
    """

    seeds: Callable[[], Sequence[bytes]]
    damage: Damage
    use: Callable[[Path], Any]
    documented: tuple[type[Exception], ...] = (TightropeError,)

    def example(self, number: int) -> bytes:
        """Return the damaged input of that number, the same in every run."""
        chance = random.Random(number)  # noqa: S311 (chance, no secret)
        return self.damage(chance, chance.choice(self.seeds()))


def attempt(target: Target, read: Callable[[bytes], object], content: bytes) -> str:
    """Read one input; return `accepted`, or the name of the documented error.

    Raises:
        Exception: Whatever the reader should not have raised.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            read(content)
        except target.documented as error:
            if not str(error).strip():
                raise
            return type(error).__name__
    return "accepted"


@contextmanager
def _network(_folder: Path) -> Iterator[Callable[[bytes], object]]:
    yield lambda content: load_network(content, limits=_NETWORKS)


@contextmanager
def _specification(_folder: Path) -> Iterator[Callable[[bytes], object]]:
    yield lambda content: read_vnnlib(content, limits=_SPECIFICATIONS)


@contextmanager
def _npz(_folder: Path) -> Iterator[Callable[[bytes], object]]:
    yield lambda content: load_dataset(content, max_bytes=2**20)


def _file(name: str, *beside: tuple[str, bytes]) -> Callable[[Path], Any]:
    """Return the use of a file of that name, with good ones beside it."""

    @contextmanager
    def use(folder: Path) -> Iterator[Callable[[bytes], object]]:
        for other, content in beside:
            (folder / other).write_bytes(content)

        def read(content: bytes) -> object:
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
            return load_source(path if path.parent == folder else folder, limits=_SMALL)

        yield read

    return use


@contextmanager
def _checkpoint(folder: Path) -> Iterator[Callable[[bytes], object]]:
    def read(content: bytes) -> object:
        (folder / FILE_NAME).write_bytes(content)
        return read_checkpoint(folder)

    yield read


@contextmanager
def _proof(folder: Path) -> Iterator[Callable[[bytes], object]]:
    def read(content: bytes) -> object:
        path = folder / "proof"
        path.write_bytes(content)
        result = check_proof(path, seeds.proved_network())
        if not result.accepted:
            raise ProofError(result.reason)
        return result

    yield read


@contextmanager
def _bodies(folder: Path) -> Iterator[Callable[[bytes], object]]:
    from tests.fuzz.requests import posting  # noqa: PLC0415 (loads the service)

    with posting(folder) as post:
        yield post


TARGETS: Mapping[str, Target] = {
    "onnx": Target(seeds.networks, damage_onnx, _network),
    "vnnlib": Target(seeds.specifications, damage_text([*_LANGUAGE.split(), "\n"]), _specification),
    "npz": Target(seeds.npz_files, damage_npz, _npz),
    "idx": Target(
        seeds.idx_files,
        damage_bytes,
        _file("train-images-idx3-ubyte", ("train-labels-idx1-ubyte", seeds.idx_files()[1])),
    ),
    "cifar": Target(seeds.cifar_files, damage_bytes, _file("data_batch_1.bin")),
    "images": Target(seeds.pictures, damage_bytes, _file("a/1.png")),
    "checkpoint": Target(seeds.checkpoints, damage_bytes, _checkpoint),
    "proof": Target(seeds.proofs, damage_proof, _proof, (ProofError,)),
    "json": Target(seeds.bodies, damage_json, _bodies),
}
