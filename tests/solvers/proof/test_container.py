"""Files of proofs: whole or refused."""

# ruff: noqa: ANN401 - whatever a field may hold
from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import fields, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers.proof import (
    Balls,
    BoundGroup,
    Duals,
    Proof,
    ProofFormatError,
    container,
    read_proof,
    write_proof,
)
from tests.helpers.proofs import TreeBuilder, proof_of, random_layers, relu_net, whole


def example() -> Proof:
    """Return a proof that uses every part of the format; what it says need not hold."""
    content = relu_net(random_layers((2, 3, 3, 1), 0))
    builder = TreeBuilder((("z0", 3), ("z1", 3)))
    builder.split(1)
    builder.tighten((4, 1))
    builder.leaf(0, alpha=range(6), gamma={1: 0.5})
    builder.leaf(-1)
    index, side = np.array([0, 2], np.int32), np.array([0, 1], np.uint8)
    groups = (
        BoundGroup("z1", index, side),
        BoundGroup("z1", index, side, np.zeros((1, 6), np.uint16)),
        BoundGroup("z1", index, side, np.zeros((2, 6), np.uint8), lines=True),
    )
    duals = Duals(
        np.ones(2), np.ones((2, 8)), np.array([0, 1, 1]), index[:1], index[:1],
        np.ones(1, np.float32),
    )  # fmt: skip
    tree = builder.tree(groups=groups, duals=duals, lines=True)
    return proof_of(
        content, np.zeros(2), np.ones(2), tree=whole([1]), trees=(tree,),
        normalization=((0.5,), (2.0,)), balls=Balls(2, np.zeros((1, 2)), np.ones((1, 2))),
    )  # fmt: skip


def rewritten(change: Callable[[dict[str, bytes]], None]) -> BytesIO:
    """Return the example's file with members changed."""
    source, result = BytesIO(), BytesIO()
    source.write(written(example()))
    with zipfile.ZipFile(source) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(result, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    result.seek(0)
    return result


def written(proof: Proof) -> bytes:
    class Memory:
        def write_bytes(self, content: bytes) -> None:
            self.content = content

    memory = Memory()
    write_proof(memory, proof)  # type: ignore[arg-type]
    return memory.content


def same(first: Any, second: Any) -> bool:
    if isinstance(first, np.ndarray):
        return first.dtype == second.dtype and np.array_equal(first, second, equal_nan=True)
    if isinstance(first, tuple):
        return len(first) == len(second) and all(map(same, first, second))
    if hasattr(first, "__dataclass_fields__"):
        return all(same(getattr(first, f.name), getattr(second, f.name)) for f in fields(first))
    return bool(first == second)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    write_proof(tmp_path / "p", example())
    assert same(read_proof(tmp_path / "p"), example())


def test_the_same_proof_gives_the_same_bytes() -> None:
    assert written(example()) == written(example())


def test_nothing_is_written_of_a_proof_that_could_not_be_read(tmp_path: Path) -> None:
    wrong = replace(example(), lower=np.zeros((1, 2), np.float32))
    with pytest.raises(ProofFormatError, match="<f4"):
        write_proof(tmp_path / "p", wrong)
    assert not (tmp_path / "p").exists()


def manifest(**changes: object) -> Callable[[dict[str, bytes]], None]:
    def change(members: dict[str, bytes]) -> None:
        head = {**json.loads(members["manifest.json"]), **changes}
        members["manifest.json"] = json.dumps(head).encode()

    return change


def member(name: str, array: Any, *, allow_pickle: bool = False) -> Callable[..., None]:
    def change(members: dict[str, bytes]) -> None:
        buffer = BytesIO()
        np.save(buffer, array, allow_pickle=allow_pickle)
        members[f"{name}.npy"] = buffer.getvalue()

    return change


def without(name: str) -> Callable[[dict[str, bytes]], None]:
    def change(members: dict[str, bytes]) -> None:
        del members[name]

    return change


def listed(name: str, value: object) -> Callable[[dict[str, bytes]], None]:
    """Change a field of the only tree."""

    def change(members: dict[str, bytes]) -> None:
        head = json.loads(members["manifest.json"])
        head["trees"][0][name] = value
        members["manifest.json"] = json.dumps(head).encode()

    return change


def longer(members: dict[str, bytes]) -> None:
    members["offset.npy"] += b"\0"


def twice(members: dict[str, bytes]) -> None:
    members["manifest.json"] = members["manifest.json"].replace(
        b'"version": 1', b'"version": 1, "version": 1'
    )


REFUSED: dict[str, tuple[Callable[[dict[str, bytes]], None], str]] = {
    "another format": (manifest(format="zip"), "format is 'zip'"),
    "a later version": (manifest(version=2), "version 2"),
    "a version that is true": (manifest(version=1.5), "version"),
    "an unknown field": (manifest(extra=1), "'extra'"),
    "a field twice": (twice, "twice"),
    "a norm of 3": (manifest(balls={"norm": 3}), "norm 3"),
    "a negative size": (manifest(input_shape=[-1, 2]), "-1"),
    "not a number": (manifest(normalization={"mean": [float("nan")], "std": [1]}), "NaN"),
    "text for a number": (manifest(normalization={"mean": ["0"], "std": [1]}), "not a number"),
    "no manifest": (without("manifest.json"), "manifest"),
    "no array": (without("lower.npy"), "no lower"),
    "an unknown member": (member("spare", np.zeros(1)), "unknown member"),
    "another type": (member("lower", np.zeros((1, 2), ">f8")), ">f8"),
    "another shape": (member("lower", np.zeros((1, 3))), "inputs"),
    "too few axes": (member("lower", np.zeros(2)), "shape"),
    "Fortran's order": (member("lower", np.asfortranarray(np.zeros((2, 2)))), "C order"),
    "objects": (member("offset", np.array([{}]), allow_pickle=True), "O"),
    "lines that are a number": (listed("lines", 1), "lines of tree 0 is 1"),
    "lines that are a word": (listed("lines", "yes"), "lines of tree 0 is 'yes'"),
    "bytes left over": (longer, "wrong length"),
    "unequal parts": (member("n0/gamma", np.zeros(3, np.float32)), "multipliers"),
    "columns that fit no values": (member("n0/alpha", np.zeros((1, 5), np.uint8)), "values"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_format_does_not_know_is_refused(name: str) -> None:
    change, reason = REFUSED[name]
    with pytest.raises(ProofFormatError, match=reason):
        read_proof(rewritten(change))


@pytest.mark.parametrize("middle", [(0, 0, 0), (2**63 - 1, -(2**63), -1), (1, 0, 1)])
def test_offsets_rise_though_their_differences_overflow(middle: tuple[int, ...]) -> None:
    """From the largest number to the least is one step up, in 64 bits."""
    builder = TreeBuilder((("z0", 3),))
    for _ in range(3):
        builder.split(0)
    builder.leaf(0, gamma={0: 1.0})
    for _ in range(3):
        builder.leaf(0)
    tree = builder.tree(gamma_start=np.array([0, *middle, 1]))
    if middle == (0, 0, 0):
        container.check_tree(tree, "tree 0")
        return
    with pytest.raises(ProofFormatError, match="offsets that do not fit"):
        container.check_tree(tree, "tree 0")


def test_a_pickle_is_never_run() -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (pytest.fail, ("a pickle was run",))

    def change(members: dict[str, bytes]) -> None:
        members["lower.npy"] = pickle.dumps(Trap())

    with pytest.raises(ProofFormatError):
        read_proof(rewritten(change))


def test_a_file_that_unpacks_to_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container, "MAX_BYTES", 1000)
    with pytest.raises(ProofFormatError, match="1000 are allowed"):
        read_proof(BytesIO(written(example())))


def test_a_member_given_twice_is_refused() -> None:
    source = BytesIO(written(example()))
    with zipfile.ZipFile(source, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("lower.npy", b"")
    source.seek(0)
    with pytest.raises(ProofFormatError, match="same name"):
        read_proof(source)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damaged_files_are_refused_or_read_and_never_crash(data: st.DataObject) -> None:
    content = bytearray(written(example()))
    cut = data.draw(st.integers(0, len(content)))
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    for damaged in (bytes(content), bytes(content[:cut])):
        try:
            assert isinstance(read_proof(BytesIO(damaged)), Proof)
        except ProofFormatError as error:
            assert str(error)
