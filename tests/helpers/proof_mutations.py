"""Proofs changed by one step at random: damaged, tampered with, or about something else.

A changed proof may be accepted only if what it then states is still true.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solvers.proof.container import (
    Common,
    Duals,
    InputTree,
    NeuronTree,
    Planes,
    Proof,
    ProofFormatError,
    Windows,
)
from solvers.proof.writing import write_proof

__all__ = ["STRUCTURAL", "Mutation", "flipped", "mutated"]

Generator = np.random.Generator
Mutation = Callable[[Proof, Generator], Proof | None]
Array = NDArray[Any]


def flipped(content: bytes, generator: Generator) -> bytes:
    """Return a file with one to four bytes changed, cut off, or repeated."""
    data = bytearray(content)
    for _ in range(int(generator.integers(1, 5))):
        place = int(generator.integers(len(data)))
        match int(generator.integers(8)):
            case 0:
                del data[place:]
                data = data or bytearray(b"\0")
            case 1:
                data[place:place] = data[place : place + int(generator.integers(1, 40))]
            case 2:
                del data[place : place + int(generator.integers(1, 9))]
                data = data or bytearray(b"\0")
            case _:
                data[place] ^= 1 << int(generator.integers(8))
    return bytes(data)


def mutated(proof: Proof, generator: Generator, target: Path) -> str | None:
    """Write a proof with one thing changed; return what was changed, or None if it cannot be."""
    name = str(generator.choice(sorted(STRUCTURAL)))
    changed = STRUCTURAL[name](proof, generator)
    if changed is None:
        return None
    try:
        write_proof(target, changed)
    except ProofFormatError:
        # What cannot even be read is no test of the checker.
        return None
    return name


def _any_number(generator: Generator, near: float) -> float:
    """Return a number that differs a little, a lot, or is no number at all."""
    steps = (
        lambda: float(np.nextafter(near, np.inf)),
        lambda: float(np.nextafter(near, -np.inf)),
        lambda: near * (1 + generator.normal() * 1e-3),
        lambda: near + generator.normal(),
        lambda: -near,
        lambda: 0.0,
        lambda: near * 1e6,
        lambda: float("nan"),
        lambda: float("inf"),
        lambda: float("-inf"),
    )
    return float(steps[int(generator.integers(len(steps)))]())


def _changed(array: Array, generator: Generator) -> Array | None:
    """Return an array with one element changed."""
    if array.size == 0:
        return None
    out = array.copy()
    place = int(generator.integers(out.size))
    if out.dtype.kind == "f":
        out.flat[place] = _any_number(generator, float(out.flat[place]))
        return out
    info = np.iinfo(out.dtype)
    value = int(out.flat[place])
    choices = [value + 1, value - 1, 0, -1, info.max, info.min, int(generator.integers(0, 256))]
    new = choices[int(generator.integers(len(choices)))]
    out.flat[place] = min(max(new, info.min), info.max)
    return out


def _swapped(array: Array, generator: Generator) -> Array | None:
    """Return an array with two elements exchanged."""
    if len(array) < 2:
        return None
    out = array.copy()
    one, other = generator.choice(len(out), 2, replace=False)
    out[[one, other]] = out[[other, one]]
    return out


def _shortened(array: Array, generator: Generator) -> Array | None:
    if len(array) == 0:
        return None
    return np.delete(array, int(generator.integers(len(array))), axis=0)


Change = Callable[[Array, Generator], "Array | None"]


def _on_field(owner: str, field: str, change: Change) -> Mutation:
    """Return a mutation of one array: of the proof, its input tree, a neuron tree or duals."""

    def mutation(proof: Proof, generator: Generator) -> Proof | None:
        if owner == "proof":
            array = change(getattr(proof, field), generator)
            return None if array is None else replace(proof, **{field: array})
        if owner == "tree":
            array = change(getattr(proof.tree, field), generator)
            return None if array is None else replace(proof, tree=_with(proof.tree, field, array))
        if not proof.trees:
            return None
        place = int(generator.integers(len(proof.trees)))
        tree = proof.trees[place]
        held: Any = tree if owner == "neurons" else getattr(tree, owner)
        array = None if held is None else change(getattr(held, field), generator)
        if array is None:
            return None
        changed = replace(held, **{field: array})
        whole = changed if owner == "neurons" else replace(tree, **{owner: changed})
        return _with_tree(proof, place, whole)

    return mutation


def _with_tree(proof: Proof, place: int, tree: NeuronTree) -> Proof:
    trees = list(proof.trees)
    trees[place] = tree
    return replace(proof, trees=tuple(trees))


def _other_shares(proof: Proof, generator: Generator) -> Proof | None:
    """Take other slopes for all planes of a tree, or one plane less, or none at all."""
    places = [k for k, tree in enumerate(proof.trees) if tree.planes is not None]
    if not places:
        return None
    place = int(generator.choice(places))
    planes = proof.trees[place].planes
    assert planes is not None
    match int(generator.integers(3)):
        case 0:
            share = generator.integers(0, 256, len(planes.share)).astype(np.uint8)
            new: Planes | None = replace(planes, share=share)
        case 1:
            last = int(planes.start[-2])
            fewer = (part[:-1] for part in (planes.user, planes.value, planes.part, planes.start))
            new = Planes(*fewer, planes.share[:last]) if len(planes.user) > 1 else None
        case _:
            new = None
    return _with_tree(proof, place, replace(proof.trees[place], planes=new))


def _other_windows(proof: Proof, generator: Generator) -> Proof | None:
    """Take other slopes for all windows of a tree, windows of something else, or none at all."""
    places = [k for k, tree in enumerate(proof.trees) if tree.windows is not None]
    if not places:
        return None
    place = int(generator.choice(places))
    windows = proof.trees[place].windows
    assert windows is not None
    match int(generator.integers(3)):
        case 0:
            shift = generator.normal(size=windows.slope.shape) * 10.0 ** generator.uniform(-6, 1)
            slope = (windows.slope + shift).astype(windows.slope.dtype)
            new: Windows | None = replace(windows, slope=slope)
        case 1:
            new = replace(windows, tensor=str(generator.choice(["x", "z1", "a0", "y"])))
        case _:
            new = None
    return _with_tree(proof, place, replace(proof.trees[place], windows=new))


def _other_lines(proof: Proof, generator: Generator) -> Proof | None:
    """Take slopes for those of curves or not, in leaves or a group, or take others for all."""
    if not proof.trees:
        return None
    place = int(generator.integers(len(proof.trees)))
    tree = proof.trees[place]
    match int(generator.integers(3)):
        case 0:
            return _with_tree(proof, place, replace(tree, lines=not tree.lines))
        case 1 if tree.groups:
            groups = list(tree.groups)
            number = int(generator.integers(len(groups)))
            groups[number] = replace(groups[number], lines=not groups[number].lines)
            return _with_tree(proof, place, replace(tree, groups=tuple(groups)))
        case _:
            most = np.iinfo(tree.alpha.dtype).max
            alpha = generator.integers(0, most + 1, tree.alpha.shape).astype(tree.alpha.dtype)
            return _with_tree(proof, place, replace(tree, alpha=alpha))


def _other_sharing(proof: Proof, generator: Generator) -> Proof | None:
    """Take a tree of one clause for that of all, or the other way round."""
    if not proof.trees:
        return None
    place = int(generator.integers(len(proof.trees)))
    tree = proof.trees[place]
    adaptive = Common(np.full(len(tree.tighten_value), -1, np.int32))
    return _with_tree(proof, place, replace(tree, common=adaptive if tree.common is None else None))


def _clause_left_out(proof: Proof, generator: Generator) -> Proof | None:
    """Prove one row in all leaves of a common tree."""
    places = [k for k, tree in enumerate(proof.trees) if tree.common is not None]
    if not places:
        return None
    place = int(generator.choice(places))
    tree = proof.trees[place]
    row = np.where(tree.leaf_row < 0, -1, generator.choice(tree.leaf_row)).astype(np.int32)
    return _with_tree(proof, place, replace(tree, leaf_row=row))


def _with(tree: InputTree, field: str, array: Array) -> InputTree:
    return replace(tree, **{field: array})


def _wider(proof: Proof, generator: Generator) -> Proof:
    """Widen the regions, by little or much."""
    by = float(10.0 ** generator.uniform(-9, 1))
    return replace(proof, lower=proof.lower - by, upper=proof.upper + by)


def _harder(proof: Proof, generator: Generator) -> Proof:
    """Ask for more than was proved."""
    return replace(proof, offset=proof.offset + float(10.0 ** generator.uniform(-9, 1)))


def _dropped_leaf(proof: Proof, generator: Generator) -> Proof | None:
    """Replace a split by its first or second child, so that half of the domain is missing."""
    tree = proof.tree
    inner = np.flatnonzero(tree.dimension >= 0)
    if len(inner) == 0:
        return _dropped_half(proof, generator)
    at = int(generator.choice(inner))
    first = _end(tree.dimension >= 0, at + 1)
    second = _end(tree.dimension >= 0, first)
    keep = np.ones(len(tree.dimension), bool)
    keep[at] = False
    gone = slice(at + 1, first) if generator.random() < 0.5 else slice(first, second)
    keep[gone] = False
    split = tree.dimension >= 0
    smaller = InputTree(tree.dimension[keep], tree.point[keep[split]], tree.kind[keep[~split]])
    return replace(proof, tree=smaller)


def _end(split: Array, start: int) -> int:
    """Return where the subtree that begins at `start` ends, in preorder."""
    wanted, place = 1, start
    while wanted:
        wanted += 1 if split[place] else -1
        place += 1
    return place


def _dropped_half(proof: Proof, generator: Generator) -> Proof | None:
    """Drop one half of a split of a neuron tree, with its leaves."""
    places = [k for k, tree in enumerate(proof.trees) if bool((tree.kind == 1).any())]
    if not places:
        return None
    place = int(generator.choice(places))
    tree = proof.trees[place]
    if bool((tree.kind >= 2).any()):
        return None
    split = tree.kind == 1
    at = int(generator.choice(np.flatnonzero(split)))
    first = _end(split, at + 1)
    second = _end(split, first)
    keep = np.ones(len(split), bool)
    keep[at] = False
    keep[slice(at + 1, first) if generator.random() < 0.5 else slice(first, second)] = False
    leaves = keep[~split]
    starts = tree.gamma_start
    multipliers = np.concatenate(
        [np.arange(starts[k], starts[k + 1]) for k in np.flatnonzero(leaves)]
        or [np.zeros(0, np.int64)]
    ).astype(np.int64)
    sizes = np.diff(starts)[leaves]
    smaller = replace(
        tree,
        kind=tree.kind[keep],
        split_value=tree.split_value[keep[split]],
        split_point=tree.split_point[keep[split]],
        leaf_row=tree.leaf_row[leaves],
        leaf_alpha=tree.leaf_alpha[leaves],
        gamma_start=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        gamma_value=tree.gamma_value[multipliers],
        gamma=tree.gamma[multipliers],
    )
    trees = list(proof.trees)
    trees[place] = smaller
    return replace(proof, trees=tuple(trees))


def _claimed_empty(proof: Proof, generator: Generator) -> Proof | None:
    """Claim that a leaf is empty."""
    if not proof.trees:
        return None
    place = int(generator.integers(len(proof.trees)))
    rows = proof.trees[place].leaf_row.copy()
    if len(rows) == 0:
        return None
    rows[int(generator.integers(len(rows)))] = -1
    trees = list(proof.trees)
    trees[place] = replace(trees[place], leaf_row=rows)
    return replace(proof, trees=tuple(trees))


def _group_changed(proof: Proof, generator: Generator) -> Proof | None:
    """Change an array of a group of bounds."""
    places = [k for k, tree in enumerate(proof.trees) if tree.groups]
    if not places:
        return None
    place = int(generator.choice(places))
    tree = proof.trees[place]
    number = int(generator.integers(len(tree.groups)))
    group = tree.groups[number]
    field = str(generator.choice(["index", "side", "alpha"]))
    array = getattr(group, field)
    if array is None:
        return None
    new = _changed(array, generator)
    if new is None:
        return None
    groups = list(tree.groups)
    groups[number] = replace(group, **{field: new})
    trees = list(proof.trees)
    trees[place] = replace(tree, groups=tuple(groups))
    return replace(proof, trees=tuple(trees))


def _other_network(proof: Proof, generator: Generator) -> Proof:
    """Name another network."""
    digit = int(generator.integers(64))
    name = proof.network_sha256
    new = "0" if name[digit] != "0" else "1"
    return replace(proof, network_sha256=name[:digit] + new + name[digit + 1 :])


def _structural() -> Mapping[str, Mutation]:
    found: dict[str, Mutation] = {
        "widen the region": _wider,
        "ask for more": _harder,
        "drop a leaf": _dropped_leaf,
        "drop half of a split": _dropped_half,
        "claim a leaf empty": _claimed_empty,
        "change a group of bounds": _group_changed,
        "name another network": _other_network,
        "take other planes": _other_shares,
        "take other windows": _other_windows,
        "read slopes otherwise": _other_lines,
        "take a tree for that of all clauses": _other_sharing,
        "name a clause twice": _clause_left_out,
    }
    changes: dict[str, Change] = {
        "change": _changed,
        "swap in": _swapped,
        "shorten": _shortened,
    }
    arrays = {
        "proof": ("lower", "upper", "matrix", "offset", "row_case", "row_clause"),
        "tree": ("dimension", "point", "kind"),
        "neurons": tuple(
            field.name
            for field in dataclasses.fields(NeuronTree)
            if field.name
            not in {"values", "groups", "duals", "planes", "lines", "common", "windows"}
        ),
        "duals": tuple(field.name for field in dataclasses.fields(Duals)),
        "planes": tuple(field.name for field in dataclasses.fields(Planes)),
        "common": tuple(field.name for field in dataclasses.fields(Common)),
        "windows": ("leaf", "slope"),
    }
    for owner, fields in arrays.items():
        for field in fields:
            for verb, change in changes.items():
                found[f"{verb} {owner}.{field}"] = _on_field(owner, field, change)
    return found


STRUCTURAL: Mapping[str, Mutation] = _structural()
"""What can be changed, by what it is called."""
