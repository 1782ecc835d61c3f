"""The parts of a producer: names, numbering, slopes, bounds inside, boxes that are cut further."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models import load_network
from models.fold import fold_affine
from models.network import Network
from solvers.bounds import boxes_to_interval
from solvers.bounds.ibp import nonlinear_nodes
from solvers.budget import Budget
from solvers.problem import Box, Case, Clause, Specification
from solvers.proof.producing.box_proof import BoxCloser, clause_margins
from solvers.proof.producing.box_tree import BoxTree
from solvers.proof.producing.ground import Ground
from solvers.proof.producing.groups import optimised_groups
from solvers.proof.producing.slopes import compacted, quantised
from solvers.proof.producing.tensors import tensors_of
from solvers.proof.producing.values import Values
from solvers.search.neurons.bounding import Bounder, Functions
from solvers.search.neurons.crossing import Terms
from solvers.search.neurons.layout import Layout, layout_of
from tests.helpers import networks
from tests.solvers.proof.producing.support import dense, least, tight_case

ROW = [1.0, -1.0, 0.0]


def ground_of(network: Network) -> Ground:
    return Ground.of(network, torch.device("cpu"))


def wide_region(network: Network, width: float = 1.0) -> Box:
    shape = network.input_shape
    return Box(np.full(shape, -width), np.full(shape, width))


def layout_and_bounder(ground: Ground, region: Box) -> tuple[Layout, Bounder]:
    layout = layout_of(ground.folded, ground.bounds(region))
    interval = boxes_to_interval([region], torch.float64)
    return layout, Bounder(layout, interval, None, dtype=torch.float32)


@pytest.mark.parametrize(
    "content", [networks.mlp(), networks.cnn(), networks.resnet(), networks.mlp(activation="Tanh")]
)
def test_tensors_hold_what_nodes_compute(content: bytes) -> None:
    network = load_network(content, name="n")
    folded = fold_affine(network.to(torch.float64))
    tensors = tensors_of(network, folded)
    read = {name for node in nonlinear_nodes(folded.graph) for name in node.inputs}
    assert set(tensors) == read
    x = torch.randn(3, *network.input_shape, dtype=torch.float64)
    values = folded.graph.evaluate(x, folded.parameters)
    wide = network.to(torch.float64)
    imported = wide.graph.evaluate(x, wide.parameters)
    for name, tensor in tensors.items():
        torch.testing.assert_close(values[name].flatten(1), imported[tensor].flatten(1))


def test_a_step_inside_an_operator_is_no_tensor() -> None:
    """HardSigmoid is imported as a scale and a clip: the clip does not read what the file says."""
    nodes = [networks.node("HardSigmoid", ["x"], ["h"]), networks.node("Relu", ["h"], ["y"])]
    network = load_network(networks.model(nodes, shape=(1, 2)), name="n")
    folded = fold_affine(network.to(torch.float64))
    assert tensors_of(network, folded) == {"h": "h"}


def test_bounds_of_the_checker_hold_and_are_used() -> None:
    network = dense(0, inputs=5)
    ground, region = ground_of(network), wide_region(network)
    bounds = ground.bounds(region)
    x = torch.rand(500, 1, 5, dtype=torch.float64) * 2 - 1
    values = ground.folded.graph.evaluate(x, ground.folded.parameters)
    for name, interval in bounds.items():
        assert bool((values[name] >= interval.lower - 1e-12).all())
        assert bool((values[name] <= interval.upper + 1e-12).all())


def test_values_are_numbered_through() -> None:
    network = dense(1, inputs=5)
    layout, _ = layout_and_bounder(ground_of(network), wide_region(network))
    values = Values.of(layout)
    assert len(values) == layout.size > 0
    assert values.places(values_parts(layout)).tolist() == list(range(layout.size))
    for slot in layout.slots:
        last = values.place(slot.node.name, int(slot.indices[-1]))
        assert last == slot.part.stop - 1
    names, flat = values.layout({slot.node.name: slot.node.name for slot in layout.slots})
    assert [count for _, count in names] == [len(slot.indices) for slot in layout.slots]
    assert len(flat) == layout.size


def values_parts(layout: Layout) -> list[tuple[str, torch.Tensor]]:
    return [(slot.node.name, slot.indices) for slot in layout.slots]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=5), st.booleans())
def test_rounded_slopes_are_near(slopes: list[float], fine: bool) -> None:
    kind = np.uint16 if fine else np.uint8
    found = quantised(torch.tensor([slopes], dtype=torch.float64), kind)
    assert found.dtype == kind
    top = np.iinfo(kind).max
    assert np.abs(found / top - np.array([slopes])).max() <= 0.5 / top + 1e-12


@pytest.mark.parametrize("seed", range(3))
def test_compact_slopes_prove_what_they_say(seed: int) -> None:
    """Bounds with what is stored exceed what was asked for, and slopes are shared."""
    network = dense(seed, inputs=5)
    layout, bounder = layout_and_bounder(ground_of(network), wide_region(network, 0.5))
    generator = torch.Generator().manual_seed(seed)
    leaves = 20
    alpha = torch.rand(leaves, layout.size, generator=generator)
    gamma = torch.zeros(leaves, layout.size)
    terms = Terms(layout.lower.expand(leaves, -1), layout.upper.expand(leaves, -1), alpha, gamma)
    rows = torch.tensor(ROW, dtype=torch.float64).expand(leaves, 3).reshape(leaves, 1, 3)
    functions = Functions(rows, torch.zeros(leaves, dtype=torch.float64))
    need = float(bounder.lower(functions, terms).min()) - 1e-3
    compact = compacted(bounder, functions, terms, need)
    assert compact is not None
    assert len(compact.alpha) <= leaves
    table = torch.from_numpy(compact.alpha / np.iinfo(compact.alpha.dtype).max)
    adaptive = (terms.upper > -terms.lower).double()
    chosen = torch.from_numpy(compact.chosen).long()
    used = adaptive.clone()
    used[chosen >= 0] = table[chosen[chosen >= 0]]
    stored = Terms(terms.lower.double(), terms.upper.double(), used, compact.gamma.double())
    assert bool((bounder.lower(functions, stored) > need).all())
    assert compacted(bounder, functions, terms, need + 1e6) is None


def test_groups_tighten_what_the_checker_derives() -> None:
    network = load_network(networks.mlp((8, 12, 12, 12, 2), seed=3), name="deep")
    ground, region = ground_of(network), wide_region(network, 0.4)
    layout, bounder = layout_and_bounder(ground, region)
    found = optimised_groups(layout, bounder, ground.tensors, Budget())
    assert found.groups
    before = ground.bounds(region)
    after = ground.bounds(region, found.groups, Values.of(layout))
    gained = 0.0
    for slot in layout.slots:
        old, new = before[slot.node.name], after[slot.node.name]
        assert bool((new.lower >= old.lower).all())
        assert bool((new.upper <= old.upper).all())
        gained += float((new.lower - old.lower).sum() + (old.upper - new.upper).sum())
        # What the producer counts on is what the checker derives, up to rounding.
        lower, upper = (end.flatten()[slot.indices] for end in (new.lower, new.upper))
        assert bool((lower >= found.lower[slot.part] - 1e-4).all())
        assert bool((upper <= found.upper[slot.part] + 1e-4).all())
    assert gained > 0
    spent = optimised_groups(layout, bounder, ground.tensors, Budget.of_seconds(0.0))
    assert spent.groups == []


def test_margins_of_clauses_are_their_best_rows() -> None:
    rows = np.array([[1.0, np.nan, -2.0, 3.0], [0.0, -1.0, -5.0, -4.0]])
    found = clause_margins(rows, np.array([0, 0, 1, 1]))
    assert found.tolist() == [[1.0, 3.0], [0.0, -4.0]]
    assert clause_margins(np.array([[np.nan]]), np.array([0])).tolist() == [[-np.inf]]


def test_boxes_are_cut_until_the_checker_proves_them() -> None:
    network = dense(4, inputs=3)
    case = tight_case(network, wide_region(network), ROW)
    ground = ground_of(network)
    tree = BoxTree.whole(case.region.lower.ravel(), case.region.upper.ravel())
    assert not BoxCloser(ground, case, Budget(), 3).close(tree.copy())
    assert not BoxCloser(ground, case, Budget.of_seconds(0.0), 10_000).close(tree.copy())
    assert BoxCloser(ground, case, Budget(), 10_000).close(tree)
    leaves = tree.leaves
    (clause,) = case.specification.clauses
    corners = tree.lower[leaves], tree.upper[leaves]
    assert (ground.box_rows(corners, clause.matrix, clause.offset) > 0).all()


def test_a_wider_tree_holds_for_float32_too() -> None:
    network = dense(4, inputs=3)
    ground, region = ground_of(network), wide_region(network)
    corners = region.lower.reshape(1, -1), region.upper.reshape(1, -1)
    matrix = np.array([ROW])
    bottom = least(network, region, ROW)
    rows, errors = ground.box_rows_and_errors(corners, matrix, np.zeros(1))
    assert np.array_equal(rows, ground.box_rows(corners, matrix, np.zeros(1)))
    assert 0 < errors[0, 0] < 1e-3
    # The margin is about what float32 loses on boxes as they are when the exact bound is enough.
    case = Case(region, Specification((Clause(matrix, np.array([bottom - 2 * errors[0, 0]])),)))
    closer = BoxCloser(ground, case, Budget(), 20_000)
    tree = BoxTree.whole(*(corner.ravel() for corner in corners))
    assert closer.close(tree)
    wider = tree.copy()
    assert closer.widen(wider)
    assert len(wider) >= len(tree)
    parts = wider.lower[wider.leaves], wider.upper[wider.leaves]
    (clause,) = case.specification.clauses
    rows, errors = ground.box_rows_and_errors(parts, clause.matrix, clause.offset)
    assert (rows > errors).all()


def test_a_box_that_cannot_be_cut_is_given_up() -> None:
    network = dense(0, inputs=3)
    point = np.full((1, 3), 0.25)
    clause = Clause(np.array([ROW]), np.array([1e6]))
    case = Case(Box(point, point), Specification((clause,)))
    tree = BoxTree.whole(point.ravel(), point.ravel())
    assert not BoxCloser(ground_of(network), case, Budget(), 100).close(tree)
