"""The file that holds a proof: a ZIP of one manifest and plain arrays, described in docs/proofs.md.

What a class below calls an array is one member of the file, of the type and axes that stand beside
it; axes of one name have one size throughout. Reading trusts nothing: sizes are limited before
anything is unpacked, arrays are read as bytes and never unpickled, and every name, field and shape
has to be one that is known. What numbers mean is the checker's business.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, field, fields
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
    "Ball",
    "Balls",
    "BoundGroup",
    "Common",
    "Duals",
    "InputTree",
    "NeuronTree",
    "Planes",
    "Proof",
    "ProofError",
    "ProofFormatError",
    "Windows",
    "arrays_of",
    "check_tree",
    "read_proof",
    "require",
]

FORMAT, VERSION = "tightrope-proof", 1
MAX_BYTES = 1 << 30
"""Of all members together, unpacked."""
MAX_MANIFEST_BYTES, MAX_MEMBERS = 16 << 20, 100_000

Array = NDArray[Any]
SLOPES, NUMBERS, SHORT = "|u1 <u2", "<f4 <f8", "<f2 <f4"


class ProofError(Exception):
    """A proof cannot be used; the message says what is wrong and where."""


def require(condition: object, reason: str) -> None:
    """Reject a proof unless a condition holds."""
    if not condition:
        raise ProofError(reason)


class ProofFormatError(ProofError):
    """A file is not a proof of a version that is understood here."""


def _array(types: str, axes: str, member: str = "") -> Mapping[str, Any]:
    """Declare an array by its types, the names of its axes, and its member if that differs."""
    return {"types": types.split(), "axes": axes.split(), "member": member}


def arrays_of(kind: type) -> Iterator[tuple[str, Field[Any]]]:
    """Yield the members of a class of arrays, and the fields that they become."""
    for entry in fields(kind):
        if entry.metadata:
            yield entry.metadata["member"] or entry.name, entry


@dataclass(frozen=True, eq=False)
class Balls:
    """Balls that regions lie in, of norm 1 or 2: all x with ‖(x − center) / radius‖ ≤ 1."""

    norm: int
    center: Array = field(metadata=_array("<f8", "cases inputs"))
    radius: Array = field(metadata=_array("<f8", "cases inputs"))

    def of(self, case: int) -> Ball:
        """Return the ball that the region of a case lies in."""
        return Ball(self.norm, self.center[case], self.radius[case])


@dataclass(frozen=True, eq=False)
class Ball:
    """One of them; shapes `(inputs,)`."""

    norm: int
    center: Array
    radius: Array


@dataclass(frozen=True, eq=False)
class InputTree:
    """Boxes that the regions of all cases are cut into: one tree a case, in preorder.

    Attributes:
        dimension: Which input is cut, −1 for a leaf.
        point: Where; NaN stands for l + (u − l) / 2. The child with smaller values comes first.
        kind: 0 for a leaf to be bounded as it is, k > 0 for neuron tree k − 1.
    """

    dimension: Array = field(metadata=_array("<i4", "nodes", "tree_dim"))
    point: Array = field(metadata=_array("<f8", "cuts", "tree_point"))
    kind: Array = field(metadata=_array("<i4", "boxes", "leaf_kind"))


@dataclass(frozen=True, eq=False)
class BoundGroup:
    """Bounds of values of one tensor that have slopes of their own.

    Attributes:
        tensor: ONNX name.
        index: Flat indices of the values.
        side: 0 for a lower, 1 for an upper bound.
        alpha: Lower slopes of ReLUs, fractions of the largest integer of their type, one row for
            all bounds or one for each; None for adaptive ones.
        lines: Whether they are slopes of curves as well, as fractions of what derivatives may be.
    """

    tensor: str
    index: Array = field(metadata=_array("<i4", "bounds"))
    side: Array = field(metadata=_array("|u1", "bounds"))
    alpha: Array | None = None
    lines: bool = False


@dataclass(frozen=True, eq=False)
class Duals:
    """Multipliers of semidefinite relaxations, each of which proves one row in a leaf.

    Attributes:
        bound: What the row is at least, but for rounding and what is missing to 0.
        diagonal: Of w² ≤ 1 for every column: inputs that vary, then values of the tree.
        start: Into the next three, one more than there are duals.
        left, right: Two forms, by number, whose product is multiplied.
        product: Multiplier of the product.
    """

    bound: Array = field(metadata=_array("<f8", "duals", "dual_bound"))
    diagonal: Array = field(metadata=_array(NUMBERS, "duals columns", "dual_diagonal"))
    start: Array = field(metadata=_array("<i8", "dual_starts", "dual_start"))
    left: Array = field(metadata=_array("<i4", "products", "dual_left"))
    right: Array = field(metadata=_array("<i4", "products", "dual_right"))
    product: Array = field(metadata=_array(NUMBERS, "products", "dual_product"))


@dataclass(frozen=True, eq=False)
class Planes:
    """Upper bounds of ReLUs that are linear in all values in front of them, not in one.

    Each belongs to one pass of a tree: those of its groups' bounds come first, those of its leaves
    after them. A ReLU of z, where z = w·x + b, is bounded by Σ share·w·x and a constant that the
    checker finds; x are the results of functions, and the input, that z is made of. The plane
    counts for a part of the ReLU, the line that is adaptive for the rest.

    Attributes:
        user: Number of the pass, ascending.
        value: z, as a position in the tree's `index`, ascending in each pass.
        part: Of the ReLU, as a fraction of 255.
        start: Into the next, one more than there are planes.
        share: Of every coefficient of w, as fractions of the largest integer of their type: one for
            each x that z depends on, in the order of vectors and of values in them.
    """

    user: Array = field(metadata=_array("<i4", "planes", "plane_user"))
    value: Array = field(metadata=_array("<i4", "planes", "plane_value"))
    part: Array = field(metadata=_array("|u1", "planes", "plane_part"))
    start: Array = field(metadata=_array("<i8", "plane_starts", "plane_start"))
    share: Array = field(metadata=_array(SLOPES, "plane_shares", "plane_share"))


@dataclass(frozen=True, eq=False)
class Common:
    """What a tree has that all clauses share: bounds that are tightened by slopes of their own.

    Attributes:
        slopes: Row of the tree's `alpha` for every such bound, −1 for adaptive slopes.
    """

    slopes: Array = field(metadata=_array("<i4", "tightened", "tighten_alpha"))


@dataclass(frozen=True, eq=False)
class Windows:
    """What some leaves bound ReLUs of a first layer together by.

    Attributes:
        tensor: ONNX name of what these ReLUs read.
        leaf: Which leaves, ascending.
        slope: Of every input of every window, one row for each leaf.
    """

    tensor: str
    leaf: Array = field(metadata=_array("<i4", "windowed", "window_leaf"))
    slope: Array = field(metadata=_array(SHORT, "windowed window_inputs", "window_slope"))


@dataclass(frozen=True, eq=False)
class NeuronTree:
    """How one box is closed by splits of values inside the network.

    Attributes:
        values: ONNX names of pre-activation tensors in topological order, and of how many of their
            values can be split or have slopes and multipliers.
        groups: Bounds over the box that are better than adaptive ones, in this order.
        index: Flat indices of the values, one tensor after the other.
        kind: Nodes of one tree per clause in preorder: 0 leaf, 1 split, 2 tighten; with `common`,
            of one tree for all clauses, where 3 proves a clause before its one child.
        split_value, split_point: Position in `index` and where; the lower half comes first.
        tighten_start: Into the next two, one more than there are tightenings.
        tighten_value, tighten_side: Position in `index`, and 0 for lower or 1 for upper.
        leaf_row: Row that is positive, among all of the file; −1 for none, the leaf being empty.
            Nodes of kind 3 count among leaves.
        leaf_alpha: Row of `alpha`, −1 for adaptive slopes, −2 − k for dual k.
        alpha: Lower slopes, as in `BoundGroup`.
        gamma_start: Into the next two, one more than there are leaves.
        gamma_value, gamma: Position in `index` and multiplier, positive for the upper bound.
        duals: That leaves are proved by, or None.
        planes: That some passes take in place of lines above ReLUs, or None.
        lines: Whether slopes of leaves are those of curves as well, as in `BoundGroup`.
        common: Where one tree is that of all clauses, or None.
        windows: That some leaves take in place of lines of ReLUs, or None.
    """

    values: tuple[tuple[str, int], ...]
    groups: tuple[BoundGroup, ...]
    index: Array = field(metadata=_array("<i4", "values"))
    kind: Array = field(metadata=_array("|u1", "kinds"))
    split_value: Array = field(metadata=_array("<i4", "splits"))
    split_point: Array = field(metadata=_array("<f8", "splits"))
    tighten_start: Array = field(metadata=_array("<i8", "tightens"))
    tighten_value: Array = field(metadata=_array("<i4", "tightened"))
    tighten_side: Array = field(metadata=_array("|u1", "tightened"))
    leaf_row: Array = field(metadata=_array("<i4", "leaves"))
    leaf_alpha: Array = field(metadata=_array("<i4", "leaves"))
    alpha: Array = field(metadata=_array(SLOPES, "slopes values"))
    gamma_start: Array = field(metadata=_array("<i8", "starts"))
    gamma_value: Array = field(metadata=_array("<i4", "multipliers"))
    gamma: Array = field(metadata=_array("<f4", "multipliers"))
    duals: Duals | None = None
    planes: Planes | None = None
    lines: bool = False
    common: Common | None = None
    windows: Windows | None = None


@dataclass(frozen=True, eq=False)
class Proof:
    """What is claimed of a network, and why it holds.

    Attributes:
        producer: For people: program and version.
        network_sha256: Of the ONNX file, in hexadecimal.
        specification_sha256: Of the VNN-LIB file, or None.
        normalization: Mean and standard deviation applied in front of the network, or None.
        input_shape: Of one input, as the network states it; a symbolic dimension counts as 1.
        lower, upper: Corners of the region of every case.
        balls: Balls that the regions lie in as well, or None.
        matrix, offset: Rows C y ≤ d.
        row_case, row_clause: Which clause of which case a row belongs to, ascending.
        tree: Boxes that the regions are cut into.
        trees: Of boxes that need more.
    """

    producer: str
    network_sha256: str
    specification_sha256: str | None
    normalization: tuple[tuple[float, ...], tuple[float, ...]] | None
    input_shape: tuple[int, ...]
    balls: Balls | None
    tree: InputTree
    lower: Array = field(metadata=_array("<f8", "cases inputs"))
    upper: Array = field(metadata=_array("<f8", "cases inputs"))
    matrix: Array = field(metadata=_array("<f8", "rows outputs"))
    offset: Array = field(metadata=_array("<f8", "rows"))
    row_case: Array = field(metadata=_array("<i4", "rows"))
    row_clause: Array = field(metadata=_array("<i4", "rows"))
    trees: tuple[NeuronTree, ...] = ()


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
    except (ProofFormatError, MemoryError):
        raise
    except Exception as error:  # damage shows as errors of many kinds
        raise ProofFormatError(f"the file is damaged or not a proof: {error!r}") from error


def check_tree(tree: NeuronTree, name: str) -> None:
    """Refuse a neuron tree whose arrays do not fit each other, or that holds strange numbers.

    A wrong bound cannot come of that: whatever values are split and whatever slopes and multipliers
    are taken, what is derived holds. But what such a tree means is not what anybody wrote.
    """
    most = 2 if tree.common is None else 3
    _form(name, (tree.kind <= most).all(), "nodes of an unknown kind")
    leaves, splits, tightens, closed = np.bincount(tree.kind, minlength=4)
    leaves += closed
    counts = len(tree.leaf_row), len(tree.split_value), len(tree.tighten_start) - 1
    _form(name, counts == (leaves, splits, tightens), "too many or too few leaves, splits or "
          "tightenings for its nodes")  # fmt: skip
    for start, count, what in ((tree.tighten_start, tightens, tree.tighten_value),
                               (tree.gamma_start, leaves, tree.gamma)):  # fmt: skip
        _form(name, _fit(start, count, what), "offsets that do not fit")
    for index in (tree.split_value, tree.tighten_value, tree.gamma_value):
        listed = ((index >= 0) & (index < len(tree.index))).all()
        _form(name, listed, "a value that it does not list")
    _form(name, (tree.tighten_side <= 1).all(), "a tightening of an unknown side")
    finite = np.isfinite(tree.split_point).all() and np.isfinite(tree.gamma).all()
    _form(name, finite, "a split or multiplier that is not finite")
    duals = 0 if tree.duals is None else len(tree.duals.bound)
    known = ((tree.leaf_alpha >= -1 - duals) & (tree.leaf_alpha < len(tree.alpha))).all()
    _form(name, known and (tree.leaf_row >= -1).all(), "a leaf out of range")
    if tree.duals is not None:
        _check_duals(tree.duals, name)
    if tree.planes is not None:
        _check_planes(tree, tree.planes, name)
    if tree.common is not None:
        slopes = tree.common.slopes
        known = ((slopes >= -1) & (slopes < len(tree.alpha))).all()
        _form(name, known, "a tightening by slopes that it does not hold")
    if tree.windows is not None:
        leaf = tree.windows.leaf.astype(np.int64)
        known = ((leaf >= 0) & (leaf < len(tree.leaf_row))).all() and (np.diff(leaf) > 0).all()
        _form(name, known, "windows of leaves that it does not have, or that are out of order")
        _form(name, np.isfinite(tree.windows.slope).all(), "a slope of a window that is not finite")


def _check_duals(duals: Duals, name: str) -> None:
    fit = _fit(duals.start, len(duals.bound), duals.left)
    _form(name, fit, "duals with offsets that do not fit")
    numbers = duals.bound, duals.diagonal, duals.product
    _form(name, all(np.isfinite(part).all() for part in numbers), "a dual that is not finite")


def _check_planes(tree: NeuronTree, planes: Planes, name: str) -> None:
    passes = sum(len(group.index) for group in tree.groups) + len(tree.leaf_row)
    listed = planes.value < len(tree.index)
    named = ((planes.user >= 0) & (planes.user < passes) & (planes.value >= 0) & listed).all()
    _form(name, named, "a plane of a pass or value that it does not have")
    order = planes.user.astype(np.int64) * (len(tree.index) + 1) + planes.value
    _form(name, (np.diff(order) > 0).all(), "planes out of order, or two of one value in a pass")
    _form(name, _fit(planes.start, len(order), planes.share), "planes whose offsets do not fit")


def _fit(start: Array, count: int, values: Array) -> bool:
    """Return whether offsets cut values into so many parts; differences of them may overflow."""
    whole = len(start) == count + 1 and start[0] == 0 and start[-1] == len(values)
    return bool(whole and (start[1:] >= start[:-1]).all())


def _form(name: str, condition: object, what: str) -> None:
    if not condition:
        raise ProofFormatError(f"{name} has {what}")


class _Reader:
    """Takes an archive apart, and knows at the end whether anything is left over."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive, entries = archive, archive.infolist()
        self._left = {entry.filename: entry for entry in entries}
        _require(len(entries) <= MAX_MEMBERS, f"{len(entries)} members")
        _require(len(self._left) == len(entries), "two members have the same name")
        total = sum(entry.file_size for entry in entries)
        _require(total <= MAX_BYTES, f"{total} bytes unpacked; {MAX_BYTES} are allowed")
        self._sizes: dict[str, int] = {}

    def proof(self) -> Proof:
        content = self._take("manifest.json", MAX_MANIFEST_BYTES)
        head = json.loads(content, object_pairs_hook=_once, parse_constant=_refuse_constant)
        _require(isinstance(head, dict), "the manifest is not an object")
        stated, version = head.pop("format", None), head.pop("version", None)
        _require(stated == FORMAT, f"its format is {stated!r}")
        _require(type(version) is int and version == VERSION, f"version {version!r} is unknown")
        named = _fields(head, "manifest", producer=str, network_sha256=str, input_shape=list,
            specification_sha256=(str, None), normalization=(dict, None), balls=(dict, None),
            trees=list)  # fmt: skip
        shape = tuple(_whole(size, "input_shape") for size in named["input_shape"])
        self._sizes["inputs"] = prod(shape)
        arrays, balls = self._arrays("", Proof), named["balls"]
        if balls is not None:
            norm = _whole(_fields(balls, "balls", norm=int)["norm"], "norm")
            _require(norm in {1, 2}, f"balls have norm {norm}")
            balls = Balls(norm, **self._arrays("", Balls))
        scaling = named["normalization"]
        if scaling is not None:
            parts = _fields(scaling, "normalization", mean=list, std=list)
            scaling = tuple(tuple(map(_number, parts[key])) for key in ("mean", "std"))
        named |= {"input_shape": shape, "balls": balls, "normalization": scaling}
        named["tree"] = InputTree(**self._arrays("", InputTree))
        named["trees"] = tuple(self._tree(k, entry) for k, entry in enumerate(named["trees"]))
        _require(not self._left, f"unknown member {next(iter(self._left), '')!r}")
        return Proof(**named, **arrays)

    def _tree(self, number: int, entry: object) -> NeuronTree:
        lacking = {"duals": False, "planes": 0, "lines": False, "common": False, "windows": ""}
        named = {**lacking, **entry} if isinstance(entry, dict) else entry
        kinds: dict[str, type] = {name: type(usual) for name, usual in lacking.items()}
        kinds |= {"values": list, "bounds": list}
        parts, values = _fields(named, f"tree {number}", **kinds), []
        for value in parts["values"]:
            named = _fields(value, f"values of tree {number}", tensor=str, count=int)
            values.append((named["tensor"], _whole(named["count"], "count")))
        classes = NeuronTree, Duals, Planes, Common, Windows
        own = [member for one in classes for member in arrays_of(one)]
        for axis in {axis for _, entry in own for axis in entry.metadata["axes"]}:
            self._sizes.pop(axis, None)  # each tree has sizes of its own
        self._sizes["values"] = sum(count for _, count in values)
        arrays, where = self._arrays(f"n{number}/", NeuronTree), f"n{number}/b"
        if parts["duals"]:
            arrays["duals"] = Duals(**self._arrays(f"n{number}/", Duals))
        groups = [self._group(f"{where}{k}/", group) for k, group in enumerate(parts["bounds"])]
        self._sizes["planes"] = _whole(parts["planes"], "planes")
        if parts["planes"]:
            arrays["planes"] = Planes(**self._arrays(f"n{number}/", Planes))
        if parts["common"]:
            arrays["common"] = Common(**self._arrays(f"n{number}/", Common))
        if parts["windows"]:
            held = self._arrays(f"n{number}/", Windows)
            arrays["windows"] = Windows(parts["windows"], **held)
        return NeuronTree(tuple(values), tuple(groups), **arrays, lines=parts["lines"])

    def _group(self, where: str, entry: object) -> BoundGroup:
        named = {"lines": False, **entry} if isinstance(entry, dict) else entry
        parts = _fields(named, where, tensor=str, rows=int, alpha=str, lines=bool)
        sharing, rows = parts["alpha"], _whole(parts["rows"], "rows")
        _require(sharing in {"adaptive", "shared", "own"}, f"{where} has alpha {sharing!r}")
        self._sizes["bounds"], self._sizes["shared"] = rows, 1 if sharing == "shared" else rows
        arrays, alpha = self._arrays(where, BoundGroup), None
        if sharing != "adaptive":
            alpha = self._array(f"{where}alpha", SLOPES.split(), ["shared", "values"])
        return BoundGroup(parts["tensor"], **arrays, alpha=alpha, lines=parts["lines"])

    def _arrays(self, where: str, kind: type) -> dict[str, Any]:
        return {
            entry.name: self._array(
                f"{where}{name}", entry.metadata["types"], entry.metadata["axes"]
            )
            for name, entry in arrays_of(kind)
        }

    def _array(self, name: str, types: list[str], axes: list[str]) -> Array:
        content = self._take(f"{name}.npy", MAX_BYTES)
        stream = BytesIO(content)
        version = npy.read_magic(stream)
        _require(version in {(1, 0), (2, 0)}, f"{name} has npy version {version}")
        header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = header(stream)
        _require(dtype.str in types, f"{name} holds {dtype.str}, not {' or '.join(types)}")
        _require(not fortran or len(shape) < 2, f"{name} is not in C order")
        _require(len(shape) == len(axes), f"{name} has shape {shape}")
        for axis, size in zip(axes, shape, strict=True):
            wanted = self._sizes.setdefault(axis, size)
            _require(size == wanted, f"{name} has {size} {axis}, not {wanted}")
        body, size = content[stream.tell() :], prod(shape) * dtype.itemsize
        _require(min(shape, default=0) >= 0 and size == len(body), f"{name} has a wrong length")
        return np.frombuffer(body, dtype).reshape(shape)

    def _take(self, member: str, limit: int) -> bytes:
        entry = self._left.pop(member, None)
        if entry is None:
            raise ProofFormatError(f"the proof has no {member}")
        _require(entry.file_size <= limit, f"{member} has {entry.file_size} bytes")
        return self._archive.read(entry)


def _require(condition: object, message: str) -> None:
    if not condition:
        raise ProofFormatError(f"this is not a proof that can be read: {message}")


def _fields(value: object, where: str, **kinds: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return an object that has exactly the fields named, of their types."""
    if not isinstance(value, dict):
        raise ProofFormatError(f"{where} is not an object")
    wrong = sorted(set(value) ^ set(kinds))
    _require(not wrong, f"{where} lacks or should not have {', '.join(map(repr, wrong))}")
    for name, kind in kinds.items():
        known = kind if isinstance(kind, tuple) else (kind,)
        fits = type(value[name]) in known or (None in known and value[name] is None)
        _require(fits, f"{name} of {where} is {value[name]!r}")
    return dict(value)


def _whole(value: object, name: str) -> int:
    if type(value) is not int or not 0 <= value < 1 << 31:
        raise ProofFormatError(f"{name} is {value!r}, not a whole number")
    return value


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
