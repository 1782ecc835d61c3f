"""Writes proofs, in the format that `solvers.proof.container` reads."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from solvers.proof.container import FORMAT, VERSION, BoundGroup, Proof, arrays_of, read_proof

__all__ = ["write_proof"]

_DATE = (1980, 1, 1, 0, 0, 0)


def write_proof(path: Path, proof: Proof) -> None:
    """Write a proof; the same proof gives the same bytes.

    Raises:
        ProofFormatError: A type or shape is none that the format has; nothing is written.
        OSError: The file cannot be written.
    """
    content = BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        manifest = json.dumps(_manifest(proof), indent=1).encode()
        archive.writestr(_entry("manifest.json"), manifest)
        for name, array in _members(proof):
            buffer = BytesIO()
            npy.write_array(buffer, np.ascontiguousarray(array), (1, 0), allow_pickle=False)
            archive.writestr(_entry(f"{name}.npy"), buffer.getvalue())
    content.seek(0)
    read_proof(content)
    path.write_bytes(content.getvalue())


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _DATE)
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry


def _manifest(proof: Proof) -> dict[str, object]:
    normalization = proof.normalization
    return {
        "format": FORMAT,
        "version": VERSION,
        "producer": proof.producer,
        "network_sha256": proof.network_sha256,
        "specification_sha256": proof.specification_sha256,
        "normalization": normalization
        and {"mean": list(normalization[0]), "std": list(normalization[1])},
        "input_shape": list(proof.input_shape),
        "balls": proof.balls and {"norm": proof.balls.norm},
        "trees": [
            {
                "values": [{"tensor": name, "count": count} for name, count in tree.values],
                "bounds": [
                    {"tensor": g.tensor, "rows": len(g.index), "alpha": _sharing(g)}
                    | ({"lines": True} if g.lines else {})
                    for g in tree.groups
                ],
                **({} if tree.duals is None else {"duals": True}),
                **({} if tree.planes is None else {"planes": len(tree.planes.user)}),
                **({"lines": True} if tree.lines else {}),
                **({} if tree.common is None else {"common": True}),
                **({} if tree.windows is None else {"windows": tree.windows.tensor}),
            }
            for tree in proof.trees
        ],
    }


def _sharing(group: BoundGroup) -> str:
    if group.alpha is None:
        return "adaptive"
    return "own" if len(group.alpha) == len(group.index) else "shared"


def _members(proof: Proof) -> Iterator[tuple[str, NDArray[Any]]]:
    parts: list[tuple[str, object]] = [("", proof), ("", proof.tree)]
    if proof.balls is not None:
        parts.append(("", proof.balls))
    for number, neurons in enumerate(proof.trees):
        parts.append((f"n{number}/", neurons))
        if neurons.duals is not None:
            parts.append((f"n{number}/", neurons.duals))
        if neurons.planes is not None:
            parts.append((f"n{number}/", neurons.planes))
        if neurons.common is not None:
            parts.append((f"n{number}/", neurons.common))
        if neurons.windows is not None:
            parts.append((f"n{number}/", neurons.windows))
        parts += [(f"n{number}/b{place}/", group) for place, group in enumerate(neurons.groups)]
    for where, part in parts:
        for name, entry in arrays_of(type(part)):
            yield f"{where}{name}", getattr(part, entry.name)
        if isinstance(part, BoundGroup) and part.alpha is not None:
            yield f"{where}alpha", part.alpha
