"""Gemm and MatMul in every form, against onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest

from models import ModelImportError, load_network
from models.operators import Linear
from tests.helpers.agreement import assert_agrees
from tests.helpers.networks import Array, model, node


def weight(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("trans_b", [0, 1])
@pytest.mark.parametrize("trans_a", [0, 1])
@pytest.mark.parametrize("bias", [None, (), (1,), (4,), (1, 4), (2, 4), (2, 1)])
def test_gemm_with_the_activation_on_the_left(
    trans_a: int, trans_b: int, bias: tuple[int, ...] | None
) -> None:
    weights = {"w": weight(4, 3) if trans_b else weight(3, 4)}
    if bias is not None:
        weights["b"] = weight(*bias, seed=1)
    attributes = {"transA": trans_a, "transB": trans_b, "alpha": 0.5, "beta": 2.0}
    nodes = [node("Gemm", ["x", *weights], ["y"], **attributes)]
    network = assert_agrees(model(nodes, shape=(3, 2) if trans_a else (2, 3), weights=weights))
    assert network.trainable == set(weights)


@pytest.mark.parametrize("trans_b", [0, 1])
@pytest.mark.parametrize("trans_a", [0, 1])
def test_gemm_with_the_constant_on_the_left(trans_a: int, trans_b: int) -> None:
    weights = {"w": weight(3, 4) if trans_a else weight(4, 3), "b": weight(2, seed=1)}
    nodes = [
        node("Gemm", ["w", "x", "b"], ["y"], transA=trans_a, transB=trans_b, alpha=-1.5, beta=0.5)
    ]
    assert_agrees(model(nodes, shape=(2, 3) if trans_b else (3, 2), weights=weights))


@pytest.mark.parametrize("bias", [(), (1,), (1, 1)])
def test_gemm_with_one_output(bias: tuple[int, ...]) -> None:
    weights = {"w": weight(3, 1), "b": weight(*bias)}
    assert_agrees(model([node("Gemm", ["x", "w", "b"], ["y"])], shape=(1, 3), weights=weights))


def test_gemm_with_a_bias_that_would_enlarge_is_malformed() -> None:
    weights = {"w": weight(3, 4), "b": weight(2, 4)}
    data = model([node("Gemm", ["x", "w", "b"], ["y"])], shape=(1, 3), weights=weights)
    with pytest.raises(ModelImportError, match="enlarges"):
        load_network(data)


def test_gemm_adds_an_activation() -> None:
    nodes = [node("Gemm", ["x", "w", "x"], ["y"], beta=3.0)]
    assert_agrees(model(nodes, shape=(2, 3), weights={"w": weight(3, 3)}))


def test_gemm_with_beta_zero_ignores_its_bias() -> None:
    nodes = [node("Gemm", ["x", "w", "b"], ["y"], beta=0.0)]
    network = assert_agrees(model(nodes, shape=(1, 3), weights={"w": weight(3, 2), "b": weight(2)}))
    assert network.trainable == {"w"}


def test_gemm_keeps_the_bias_in_the_linear_operator() -> None:
    nodes = [node("Gemm", ["x", "w", "b"], ["y"])]
    network = assert_agrees(
        model(nodes, shape=(1, 3), weights={"w": weight(3, 2), "b": weight(1, 2)})
    )
    assert [type(entry.operator) for entry in network.graph.nodes[1:]] == [Linear]


@pytest.mark.parametrize(
    ("shape", "matrix"),
    [
        ((3,), (3, 4)),
        ((1, 3), (3, 4)),
        ((2, 3), (3,)),
        ((3,), (3,)),
        ((2, 2, 3), (3, 4)),
        ((2, 3), (1, 3, 4)),
        ((2, 5, 3), (1, 1, 3, 4)),
    ],
)
def test_matmul_with_the_constant_on_the_right(
    shape: tuple[int, ...], matrix: tuple[int, ...]
) -> None:
    assert_agrees(
        model([node("MatMul", ["x", "w"], ["y"])], shape=shape, weights={"w": weight(*matrix)})
    )


@pytest.mark.parametrize(
    ("matrix", "shape"),
    [
        ((4, 3), (3,)),
        ((4, 3), (3, 2)),
        ((3,), (3, 2)),
        ((3,), (5, 3, 2)),
        ((4, 3), (5, 3, 2)),
        ((1, 4, 3), (3, 2)),
        ((1, 4, 3), (3,)),
        ((3,), (3,)),
    ],
)
def test_matmul_with_the_constant_on_the_left(
    matrix: tuple[int, ...], shape: tuple[int, ...]
) -> None:
    assert_agrees(
        model([node("MatMul", ["w", "x"], ["y"])], shape=shape, weights={"w": weight(*matrix)})
    )
