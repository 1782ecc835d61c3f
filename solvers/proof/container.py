"""The file that holds a proof: a ZIP of one manifest and plain arrays, described in docs/proofs.md.

Reading trusts nothing: sizes are limited before anything is unpacked, arrays are read as bytes of a
stated type and shape and never unpickled, and every name, field and shape has to be one that the
format knows. What the numbers mean, and whether they prove anything, is the checker's business.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

__all__ = [
    "FORMAT",
    "VERSION",
    "Balls",
    "BoundGroup",
    "InputTree",
    "NeuronTree",
    "Proof",
    "ProofError",
    "ProofFormatError",
    "read_proof",
    "write_proof",
]

FORMAT, VERSION = "tightrope-proof", 1
MAX_BYTES = 1 << 30
"""Of all members together, unpacked."""
MAX_MANIFEST_BYTES = 16 << 20
MAX_MEMBERS = 100_000
_DATE = (1980, 1, 1, 0, 0, 0)

Array = NDArray[Any]
Shapes = Mapping[str, tuple[tuple[str, ...], str]]

_ARRAYS: Shapes = {
    "lower": (("<f8",), "cases inputs"),
    "upper": (("<f8",), "cases inputs"),
    "matrix": (("<f8",), "rows outputs"),
    "offset": (("<f8",), "rows"),
    "row_case": (("<i4",), "rows"),
    "row_clause": (("<i4",), "rows"),
    "tree_dim": (("<i4",), "nodes"),
    "tree_point": (("<f8",), "splits"),
    "leaf_kind": (("<i4",), "leaves"),
}
_BALLS: Shapes = {"center": (("<f8",), "cases inputs"), "radius": (("<f8",), "cases inputs")}
_TREE: Shapes = {
    "index": (("<i4",), "values"),
    "kind": (("|u1",), "nodes"),
    "split_value": (("<i4",), "splits"),
    "split_point": (("<f8",), "splits"),
    "tighten_start": (("<i8",), "tightens"),
    "tighten_value": (("<i4",), "tightened"),
    "tighten_side": (("|u1",), "tightened"),
    "leaf_row": (("<i4",), "leaves"),
    "leaf_alpha": (("<i4",), "leaves"),
    "alpha": (("|u1", "<u2"), "slopes values"),
    "gamma_start": (("<i8",), "starts"),
    "gamma_value": (("<i4",), "multipliers"),
    "gamma": (("<f4",), "multipliers"),
}
_GROUP: Shapes = {"index": (("<i4",), "bounds"), "side": (("|u1",), "bounds")}
_GROUP_ALPHA: Shapes = {"alpha": (("|u1", "<u2"), "shared values")}


class ProofError(Exception):
    """A proof cannot be used; the message says what is wrong and where."""


class ProofFormatError(ProofError):
    """A file is not a proof of a version that is understood here."""


@dataclass(frozen=True, eq=False)
class Balls:
    """Balls that regions lie in: all x with ‖(x − center) / radius‖ ≤ 1; fixed where radius is 0.

    Attributes:
        norm: 1 or 2.
        center, radius: Shape `(cases, inputs)`, float64.
    """

    norm: int
    center: Array
    radius: Array


@dataclass(frozen=True, eq=False)
class InputTree:
    """Boxes that the regions of all cases are cut into: one tree a case, in preorder.

    Attributes:
        dimension: Which input is cut, −1 for a leaf, int32, shape `(nodes,)`.
        point: Where, one per inner node, float64; NaN stands for l + (u − l) / 2. The child with
            the smaller values comes first.
        kind: One per leaf, int32: 0 to be bounded as it is, k > 0 for neuron tree k − 1.
    """

    dimension: Array
    point: Array
    kind: Array


@dataclass(frozen=True, eq=False)
class BoundGroup:
    """Bounds of values of one tensor that have slopes of their own.

    Attributes:
        tensor: ONNX name.
        index: Flat indices of the values, int32, shape `(rows,)`.
        side: 0 for a lower, 1 for an upper bound, uint8, the same shape.
        alpha: Lower slopes of ReLUs, uint8 or uint16 of shape `(1, values)` or `(rows, values)`,
            a fraction of the largest integer of their type; None for adaptive ones.
    """

    tensor: str
    index: Array
    side: Array
    alpha: Array | None = None


@dataclass(frozen=True, eq=False)
class NeuronTree:
    """How one box is closed by splits of values inside the network.

    Attributes:
        values: ONNX names of pre-activation tensors in topological order, and of how many of their
            values can be split or have slopes and multipliers.
        index: Their flat indices, one tensor after the other, int32, shape `(values,)`.
        groups: Bounds over the box that are better than adaptive ones, in this order.
        kind: Nodes of one tree per clause in preorder, uint8: 0 leaf, 1 split, 2 tighten.
        split_value, split_point: One per split: position in `index` (int32) and where (float64);
            the half with values up to the point comes first.
        tighten_start: int64, one more than there are tightenings, into the two that follow.
        tighten_value, tighten_side: Position in `index` (int32), and 0 for lower or 1 for upper.
        leaf_row: Which row is positive in a leaf, among all rows of the file; −1 for none, the
            leaf being empty. int32, one per leaf.
        leaf_alpha: Row of `alpha`, −1 for adaptive slopes. int32, one per leaf.
        alpha: Lower slopes, shape `(slopes, values)`, uint8 or uint16 as in `BoundGroup`.
        gamma_start: int64, one more than there are leaves, into the two that follow.
        gamma_value, gamma: Multipliers of bounds: position in `index` (int32) and value (float32),
            positive for the upper bound.
    """

    values: tuple[tuple[str, int], ...]
    index: Array
    groups: tuple[BoundGroup, ...]
    kind: Array
    split_value: Array
    split_point: Array
    tighten_start: Array
    tighten_value: Array
    tighten_side: Array
    leaf_row: Array
    leaf_alpha: Array
    alpha: Array
    gamma_start: Array
    gamma_value: Array
    gamma: Array


@dataclass(frozen=True, eq=False)
class Proof:
    """What is claimed of a network, and why it holds.

    Attributes:
        producer: For people: program and version.
        network_sha256: Of the ONNX file, in hexadecimal.
        specification_sha256: Of the VNN-LIB file, or None.
        normalization: Mean and standard deviation applied in front of the network, or None.
        input_shape: Of one input, as the network states it; a symbolic dimension counts as 1.
        lower, upper: Corners of the region of every case, shape `(cases, inputs)`, float64.
        balls: Balls that the regions lie in as well, or None.
        matrix, offset: Rows C y ≤ d, shapes `(rows, outputs)` and `(rows,)`, float64.
        row_case, row_clause: Which clause of which case a row belongs to, int32, ascending.
        tree: Boxes that the regions are cut into.
        trees: Of boxes that need more.
    """

    producer: str
    network_sha256: str
    specification_sha256: str | None
    normalization: tuple[tuple[float, ...], tuple[float, ...]] | None
    input_shape: tuple[int, ...]
    lower: Array
    upper: Array
    balls: Balls | None
    matrix: Array
    offset: Array
    row_case: Array
    row_clause: Array
    tree: InputTree
    trees: tuple[NeuronTree, ...] = ()


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
                    for g in tree.groups
                ],
            }
            for tree in proof.trees
        ],
    }


def _sharing(group: BoundGroup) -> str:
    if group.alpha is None:
        return "adaptive"
    return "own" if len(group.alpha) == len(group.index) else "shared"


def _members(proof: Proof) -> Iterator[tuple[str, Array]]:
    tree = {
        "tree_dim": proof.tree.dimension,
        "tree_point": proof.tree.point,
        "leaf_kind": proof.tree.kind,
    }
    for name in _ARRAYS:
        yield name, tree[name] if name in tree else getattr(proof, name)
    if proof.balls is not None:
        yield from (("center", proof.balls.center), ("radius", proof.balls.radius))
    for number, neurons in enumerate(proof.trees):
        for name in _TREE:
            yield f"n{number}/{name}", getattr(neurons, name)
        for place, group in enumerate(neurons.groups):
            yield f"n{number}/b{place}/index", group.index
            yield f"n{number}/b{place}/side", group.side
            if group.alpha is not None:
                yield f"n{number}/b{place}/alpha", group.alpha


def read_proof(source: Path | BinaryIO) -> Proof:
    """Read a proof from a file or a stream.

    Raises:
        ProofFormatError: It is not one, is too large, or holds what this version does not know.
        OSError: The file cannot be read.
    """
    content = source.read_bytes() if isinstance(source, Path) else source.read()
    try:
        # Not the file itself: places outside of it that damage names are errors of their own there.
        with zipfile.ZipFile(BytesIO(content)) as archive:
            return _Reader(archive).proof()
    except ProofFormatError:
        raise
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        raise ProofFormatError(f"the file is damaged or not a proof: {error}") from error
    except Exception as error:  # zlib and struct raise their own on damaged data
        if isinstance(error, MemoryError):
            raise
        raise ProofFormatError(f"the file is damaged or not a proof: {error!r}") from error


class _Reader:
    """Takes an archive apart, and knows at the end whether anything is left over."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        entries = archive.infolist()
        self._left = {entry.filename: entry for entry in entries}
        _require(len(entries) <= MAX_MEMBERS, f"{len(entries)} members")
        _require(len(self._left) == len(entries), "two members have the same name")
        total = sum(entry.file_size for entry in entries)
        _require(total <= MAX_BYTES, f"{total} bytes unpacked; {MAX_BYTES} are allowed")
        self._sizes: dict[str, int] = {}

    def proof(self) -> Proof:
        head = self._manifest()
        shape = tuple(_whole(size, "input_shape") for size in _list(head["input_shape"]))
        self._sizes["inputs"] = prod(shape)
        arrays = self._arrays("", _ARRAYS)
        tree = InputTree(*(arrays.pop(name) for name in ("tree_dim", "tree_point", "leaf_kind")))
        balls = None
        if head["balls"] is not None:
            norm = _fields(head["balls"], {"norm"}, "balls")["norm"]
            _require(norm in {1, 2} and type(norm) is int, f"balls have norm {norm!r}")
            balls = Balls(norm, **self._arrays("", _BALLS))
        trees = tuple(self._tree(k, entry) for k, entry in enumerate(_list(head["trees"])))
        _require(not self._left, f"unknown member {next(iter(self._left), '')!r}")
        hashes = [head["network_sha256"], head["specification_sha256"]]
        return Proof(
            producer=_text(head["producer"], "producer"),
            network_sha256=_text(hashes[0], "network_sha256"),
            specification_sha256=hashes[1] and _text(hashes[1], "specification_sha256"),
            normalization=_normalization(head["normalization"]),
            input_shape=shape,
            balls=balls,
            tree=tree,
            trees=trees,
            **arrays,
        )

    def _manifest(self) -> dict[str, Any]:
        content = self._take("manifest.json", MAX_MANIFEST_BYTES)
        head = json.loads(content, object_pairs_hook=_once, parse_constant=_refuse_constant)
        fields = {
            "format", "version", "producer", "network_sha256", "specification_sha256",
            "normalization", "input_shape", "balls", "trees",
        }  # fmt: skip
        if isinstance(head, dict):
            _require(head.get("format") == FORMAT, f"the format is {head.get('format')!r}")
            _require(head.get("version") == VERSION, f"version {head.get('version')!r} is unknown")
        return _fields(head, fields, "manifest")

    def _tree(self, number: int, entry: object) -> NeuronTree:
        where = f"n{number}/"
        parts = _fields(entry, {"values", "bounds"}, f"tree {number}")
        values = []
        for value in _list(parts["values"]):
            named = _fields(value, {"tensor", "count"}, f"values of tree {number}")
            values.append((_text(named["tensor"], "tensor"), _whole(named["count"], "count")))
        local = ("values", "nodes", "splits", "leaves", "tightens", "tightened", "slopes")
        for name in (*local, "starts", "multipliers"):
            self._sizes.pop(name, None)
        self._sizes["values"] = sum(count for _, count in values)
        arrays = self._arrays(where, _TREE)
        groups = tuple(
            self._group(f"{where}b{place}/", group)
            for place, group in enumerate(_list(parts["bounds"]))
        )
        return NeuronTree(values=tuple(values), groups=groups, **arrays)

    def _group(self, where: str, entry: object) -> BoundGroup:
        parts = _fields(entry, {"tensor", "rows", "alpha"}, where)
        rows, sharing = _whole(parts["rows"], "rows"), parts["alpha"]
        _require(sharing in ("adaptive", "shared", "own"), f"{where} has alpha {sharing!r}")
        self._sizes["bounds"], self._sizes["shared"] = rows, 1 if sharing == "shared" else rows
        arrays = self._arrays(where, _GROUP)
        slopes = {} if sharing == "adaptive" else self._arrays(where, _GROUP_ALPHA)
        return BoundGroup(_text(parts["tensor"], "tensor"), **arrays, **slopes)

    def _arrays(self, where: str, shapes: Shapes) -> dict[str, Array]:
        """Read arrays; axes of one name have one size throughout."""
        found = {}
        for name, (dtypes, axes) in shapes.items():
            array = self._array(f"{where}{name}.npy", dtypes)
            names = axes.split()
            _require(array.ndim == len(names), f"{where}{name} has shape {array.shape}")
            for axis, size in zip(names, array.shape, strict=True):
                wanted = self._sizes.setdefault(axis, size)
                _require(size == wanted, f"{where}{name} has {size} {axis}, not {wanted}")
            found[name] = array
        return found

    def _array(self, member: str, dtypes: tuple[str, ...]) -> Array:
        content = self._take(member, MAX_BYTES)
        stream = BytesIO(content)
        version = npy.read_magic(stream)
        _require(version in {(1, 0), (2, 0)}, f"{member} has npy version {version}")
        header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = header(stream)
        _require(dtype.str in dtypes, f"{member} holds {dtype.str}, not {' or '.join(dtypes)}")
        _require(not fortran or len(shape) < 2, f"{member} is not in C order")
        body = content[stream.tell() :]
        size = prod(shape) * dtype.itemsize
        _require(min(shape, default=0) >= 0 and size == len(body), f"{member} has a wrong length")
        return np.frombuffer(body, dtype).reshape(shape)

    def _take(self, member: str, limit: int) -> bytes:
        entry = self._left.pop(member, None)
        if entry is None:
            raise ProofFormatError(f"the proof has no {member}")
        _require(entry.file_size <= limit, f"{member} has {entry.file_size} bytes")
        return self._archive.read(entry)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ProofFormatError(f"this is not a proof that can be read: {message}")


def _fields(value: object, names: set[str], where: str) -> dict[str, Any]:
    """Return an object that has exactly the fields named."""
    if not isinstance(value, dict):
        raise ProofFormatError(f"{where} is not an object")
    wrong = sorted(set(value) ^ names)
    _require(not wrong, f"{where} lacks or should not have {', '.join(map(repr, wrong))}")
    return value


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise ProofFormatError(f"{value!r} is not a list")
    return value


def _text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise ProofFormatError(f"{name} is {value!r}, not text")
    return value


def _whole(value: object, name: str) -> int:
    if type(value) is not int or not 0 <= value < 1 << 31:
        raise ProofFormatError(f"{name} is {value!r}, not a whole number")
    return value


def _normalization(value: object) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    if value is None:
        return None
    parts = _fields(value, {"mean", "std"}, "normalization")
    mean, std = (tuple(_number(item) for item in _list(parts[key])) for key in ("mean", "std"))
    return mean, std


def _number(value: object) -> float:
    if type(value) not in (int, float):
        raise ProofFormatError(f"{value!r} is not a number")
    return float(value)  # type: ignore[arg-type]


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    _require(len(found) == len(pairs), "a field of the manifest is given twice")
    return found


def _refuse_constant(text: str) -> object:
    raise ProofFormatError(f"the manifest holds {text}, which is no number")
