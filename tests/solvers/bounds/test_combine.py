"""Best of several methods, fused losses, and work that does not fit into memory."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import Tensor

import solvers.bounds.margins as margins_module
from models.errors import InvalidInputError
from models.network import Network
from solvers.bounds import (
    BoundOptions,
    Interval,
    Margins,
    MemoryBudget,
    Scene,
    best_of,
    bound_margins,
    fused_loss_bound,
)
from solvers.bounds.memory import out_of_memory
from solvers.errors import MemoryLimitError
from solvers.methods import Method
from tests.helpers.random_graphs import relu_chain
from tests.solvers.bounds.support import points_in

CLASSES = 5
BATCH = 3


@pytest.fixture
def network() -> Network:
    return relu_chain([4, 12, 12, CLASSES], 3)


def _region(network: Network, width: float) -> Interval:
    generator = torch.Generator().manual_seed(1)
    shape = (BATCH, *network.input_shape)
    center = torch.rand(shape, generator=generator, dtype=torch.float64)
    return Interval(center - width, center + width)


def _against(label: int) -> Margins:
    """Return the margins of one label against every other class, for each region."""
    others = [target for target in range(CLASSES) if target != label]
    matrix = torch.zeros(BATCH, len(others), CLASSES, dtype=torch.float64)
    matrix[:, :, label] = 1
    for row, target in enumerate(others):
        matrix[:, row, target] = -1
    return Margins(matrix, torch.zeros(BATCH, len(others), dtype=torch.float64))


def _loss(network: Network, x: Tensor, label: int) -> Tensor:
    y = network(x).flatten(1)
    return torch.nn.functional.cross_entropy(y, torch.full((len(y),), label), reduction="none")


@pytest.mark.parametrize("width", [0.0, 0.01, 0.2, 3.0])
@pytest.mark.parametrize("label", range(CLASSES))
def test_no_loss_in_the_region_exceeds_the_fused_bound(
    network: Network, width: float, label: int
) -> None:
    region = _region(network, width)
    bound = fused_loss_bound(Scene(network, region), _against(label))
    assert bound.shape == (BATCH,)
    for index in range(BATCH):
        x = points_in(region[index : index + 1], 500, seed=index).reshape(-1, *network.input_shape)
        assert bool((_loss(network, x, label) <= bound[index] + 1e-9).all())


def test_the_fused_bound_of_a_point_is_its_loss(network: Network) -> None:
    region = _region(network, 0.0)
    bound = fused_loss_bound(Scene(network, region), _against(2))
    torch.testing.assert_close(bound, _loss(network, region.lower, 2), rtol=1e-9, atol=1e-9)


def test_the_fused_bound_is_no_worse_than_intervals(network: Network) -> None:
    scene = Scene(network, _region(network, 0.3))
    margins = _against(0)
    by_intervals = bound_margins(scene, margins, Method.IBP).lower
    worst = torch.log1p(torch.exp(-by_intervals).sum(-1))
    fused = fused_loss_bound(scene, margins)
    assert fused.mean() <= worst.mean() * 2, "one row may cost a little, not the whole bound"


def test_the_fused_bound_has_gradients_in_the_weights(network: Network) -> None:
    trained = {name: value.clone().requires_grad_() for name, value in network.parameters.items()}
    scene = Scene(network.with_parameters(trained), _region(network, 0.1))
    fused_loss_bound(scene, _against(1)).sum().backward()
    gradients = [value.grad for value in trained.values()]
    assert any(gradient is not None and bool(gradient.any()) for gradient in gradients)


def test_best_of_is_as_good_as_each(network: Network) -> None:
    scene = Scene(network, _region(network, 0.2))
    margins = _against(0)
    methods = [Method.IBP, Method.FAST_LIN, Method.FORWARD, Method.CROWN]
    together = best_of(scene, margins, methods)
    each = [bound_margins(scene, margins, method) for method in methods]
    best = torch.stack([result.lower for result in each]).amax(0)
    torch.testing.assert_close(together.lower, best)
    for result in each:
        for name, interval in result.intermediate.items():
            assert bool((together.intermediate[name].lower >= interval.lower - 1e-12).all())
            assert bool((together.intermediate[name].upper <= interval.upper + 1e-12).all())


def test_best_of_nothing_is_refused(network: Network) -> None:
    with pytest.raises(InvalidInputError, match="at least one method"):
        best_of(Scene(network, _region(network, 0.1)), _against(0), [])


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried …"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_what_counts_as_out_of_memory(error: BaseException, expected: bool) -> None:
    assert out_of_memory(error) is expected


def _failing_above(limit: int, seen: list[int]) -> object:
    """Return a method that runs out of memory unless its limit is small enough."""
    crown = margins_module._METHODS[Method.CROWN]

    def method(task: margins_module._Task) -> margins_module.MarginBounds:
        seen.append(task.memory.limit_bytes)
        if task.memory.limit_bytes > limit:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return crown(task)

    return method


def _patched(monkeypatch: pytest.MonkeyPatch, limit: int) -> list[int]:
    seen: list[int] = []
    methods = {**margins_module._METHODS, Method.CROWN: _failing_above(limit, seen)}
    monkeypatch.setattr(margins_module, "_METHODS", methods)
    return seen


def test_running_out_of_memory_halves_the_pieces(
    network: Network, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    scene, margins = Scene(network, _region(network, 0.1)), _against(0)
    expected = bound_margins(scene, margins, Method.CROWN).lower
    seen = _patched(monkeypatch, 1 << 24)
    options = BoundOptions(memory=MemoryBudget(1 << 26))
    with caplog.at_level(logging.WARNING):
        found = bound_margins(scene, margins, Method.CROWN, options=options).lower
    assert seen == [1 << 26, 1 << 25, 1 << 24]
    assert "out of memory" in caplog.text
    torch.testing.assert_close(found, expected)


def test_memory_that_never_suffices_is_a_clear_error(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    _patched(monkeypatch, 0)
    with pytest.raises(MemoryLimitError, match="does not fit into memory"):
        bound_margins(Scene(network, _region(network, 0.1)), _against(0), Method.CROWN)


def test_other_failures_are_not_mistaken_for_memory(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_task: object) -> margins_module.MarginBounds:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(
        margins_module, "_METHODS", {**margins_module._METHODS, Method.CROWN: broken}
    )
    with pytest.raises(RuntimeError, match="mat1"):
        bound_margins(Scene(network, _region(network, 0.1)), _against(0), Method.CROWN)
