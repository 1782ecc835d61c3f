"""Networks that multiply values: proofs split those alone that a file has names for."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch

from models import load_network
from models.network import Network
from solvers.bounds import boxes_to_interval
from solvers.budget import Budget
from solvers.problem import Box, Case, Problem
from solvers.proof.bounds import Enclosure
from solvers.proof.container import NeuronTree
from solvers.proof.producing.ground import Ground
from solvers.proof.producing.groups import optimised_groups
from solvers.proof.producing.neuron_search import NeuronCloser
from solvers.proof.producing.produce import Proven, Prover
from solvers.proof.producing.trace import Trace
from solvers.proof.producing.values import Values
from solvers.proof.rooting import region_of
from solvers.search.neurons.bounding import Bounder
from solvers.search.neurons.layout import confined, layout_of
from tests.helpers import networks
from tests.helpers.networks import node
from tests.solvers.proof.producing.support import dense, seconds, tight_case

TOKENS, WIDTH = 5, 4


@cache
def attending() -> Network:
    """Tokens that read each other, then a hidden layer, then three sums."""
    generator = np.random.default_rng(0)
    sizes = {"wq": (WIDTH, 3), "wk": (WIDTH, 3), "wv": (WIDTH, 3), "w1": (3, 6), "w2": (30, 3)}
    weights = {
        name: (generator.normal(size=size) / np.sqrt(size[0])).astype(np.float32)
        for name, size in sizes.items()
    }
    nodes = [
        *(node("MatMul", ["x", f"w{part}"], [part]) for part in "qkv"),
        node("Transpose", ["k"], ["t"], perm=[0, 2, 1]),
        node("MatMul", ["q", "t"], ["s"]),
        node("Softmax", ["s"], ["a"], axis=-1),
        node("MatMul", ["a", "v"], ["r"]),
        node("MatMul", ["r", "w1"], ["h"]),
        node("Relu", ["h"], ["p"]),
        node("Flatten", ["p"], ["f"]),
        node("MatMul", ["f", "w2"], ["y"]),
    ]
    content = networks.model(nodes, shape=(1, TOKENS, WIDTH), weights=weights)
    return load_network(content, name="attending")


def region(width: float = 0.15) -> Box:
    center = np.random.default_rng(1).normal(size=(1, TOKENS, WIDTH))
    return Box(center - width, center + width)


def ground_of(network: Network) -> Ground:
    return Ground.of(network, torch.device("cpu"))


def sampled(ground: Ground, box: Box) -> dict[str, torch.Tensor]:
    share = torch.rand(2000, *box.shape, dtype=torch.float64).round(decimals=1)
    low, high = torch.from_numpy(box.lower), torch.from_numpy(box.upper)
    return dict(ground.folded.graph.evaluate(low + share * (high - low), ground.folded.parameters))


def test_what_stands_beside_others_is_bounded_but_has_no_name_to_be_split_by() -> None:
    ground, box = ground_of(attending()), region()
    assert set(ground.tensors.values()) == {"s", "h"}
    assert set(ground.bounded.values()) == {"q", "t", "a", "v", "s", "h"}
    bounds, values = ground.bounds(box), sampled(ground, box)
    corners = box.lower.reshape(1, -1), box.upper.reshape(1, -1)
    plain = Enclosure.unbounded(ground.checked, region_of(*corners))
    plain.renew()
    narrower = 0
    for name, tensor in ground.bounded.items():
        found = bounds[name]
        assert bool((values[name] >= found.lower - 1e-12).all())
        assert bool((values[name] <= found.upper + 1e-12).all())
        vector = ground.checked.names[tensor]
        width = (plain.upper[vector] - plain.lower[vector]).sum()
        assert float((found.upper - found.lower).sum()) <= width + 1e-12
        narrower += float((found.upper - found.lower).sum()) < 0.99 * width
    assert narrower >= 2


def test_layouts_are_confined_to_nodes() -> None:
    ground, box = ground_of(attending()), region()
    whole = layout_of(ground.folded, ground.bounds(box))
    some = layout_of(ground.folded, ground.bounds(box), confined(ground.folded, {}, ["h"]))
    (slot,) = some.slots
    assert slot.node.name == "h"
    assert torch.equal(slot.indices, whole.by_node["h"].indices)
    assert len(whole.slots) > 1
    nothing = torch.zeros(1, *slot.node.shape, dtype=torch.bool)
    assert layout_of(ground.folded, ground.bounds(box), {"h": nothing}).by_node.keys() == (
        whole.by_node.keys() - {"h"}
    )


@pytest.mark.parametrize("hard", [False, True])
def test_networks_that_multiply_values_are_proved_by_splits(hard: bool) -> None:
    """The search stays ahead of the checker, whose rule of Softmax is another."""
    network = attending()
    case = tight_case(network, region(0.1), [1.0, -1.0, 0.0], share=0.25)
    trace = Trace(hard={0} if hard else set())
    ground = ground_of(network)
    (plain,) = ground.region_rows([case.region], *_row(case))
    assert plain.max() < 0  # or else there is nothing to split for
    outcome = Prover(network, "cpu").prove(Problem((case,)), seconds(), trace=trace)
    assert isinstance(outcome, Proven), outcome
    assert outcome.check.margin > 0


def _row(case: Case) -> tuple[np.ndarray, np.ndarray]:
    (clause,) = case.specification.clauses
    return clause.matrix, clause.offset


def test_trees_list_what_has_a_name() -> None:
    ground = ground_of(attending())
    case = tight_case(attending(), region(0.1), [1.0, -1.0, 0.0], share=0.25)
    tree = NeuronCloser(ground, case, 0, seconds()).close(hard=True)
    assert isinstance(tree, NeuronTree)
    assert {name for name, _ in tree.values} <= {"s", "h"}


def test_bounds_of_a_box_are_found_once(monkeypatch: pytest.MonkeyPatch) -> None:
    network, asked = dense(0), []
    original: Callable[..., Enclosure] = Enclosure.of.__func__  # type: ignore[attr-defined]

    def counted(kind: type[Enclosure], *args: object) -> Enclosure:
        asked.append(args)
        return original(kind, *args)

    monkeypatch.setattr(Enclosure, "of", classmethod(counted))
    ground = ground_of(network)
    box, other = (Box(np.full((1, 30), -w), np.full((1, 30), w)) for w in (0.2, 0.3))
    before = ground.bounds(box)
    layout = layout_of(ground.folded, before)
    bounder = Bounder(layout, boxes_to_interval([box], torch.float64), None, dtype=torch.float32)
    groups = optimised_groups(layout, bounder, ground.tensors, Budget()).groups
    assert groups
    ground.bounds(box, groups, Values.of(layout))
    again = ground.bounds(box)
    assert len(asked) == 1
    for name, interval in before.items():  # not moved by the groups
        assert torch.equal(interval.lower, again[name].lower)
        assert torch.equal(interval.upper, again[name].upper)
    wider = ground.bounds(other)
    assert len(asked) == 2
    assert any(bool((wider[name].upper > before[name].upper).any()) for name in before)
