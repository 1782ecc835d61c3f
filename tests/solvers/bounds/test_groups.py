"""Examples that need about as many rows are bounded together, and nothing else changes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from models.network import Network
from solvers.bounds import Interval, Margins, Scene, bound_margins
from solvers.bounds.intermediate import example_groups
from solvers.methods import Method
from tests.helpers.random_graphs import relu_chain
from tests.solvers.bounds.support import check_sound, random_margins

BACKWARD = [Method.FAST_LIN, Method.CROWN, Method.ALPHA_CROWN]


def _mask(counts: list[int], size: int = 40) -> Tensor:
    mask = torch.zeros(len(counts), size, dtype=torch.bool)
    for row, count in enumerate(counts):
        mask[row, :count] = True
    return mask


@pytest.mark.parametrize(
    ("counts", "groups"),
    [
        ([5], None),
        ([5, 4, 3, 3], None),
        ([40, 39, 2, 1, 20], [[0, 1, 4], [2, 3]]),
        ([0, 0, 7, 0, 0], [[2]]),
        ([1, 40], [[1], [0]]),
        ([9, 9, 9, 0], None),
    ],
)
def test_groups_hold_examples_of_like_counts(
    counts: list[int], groups: list[list[int]] | None
) -> None:
    found = example_groups(_mask(counts))
    plain = None if found is None else [sorted(group.tolist()) for group in found]
    assert plain == groups


def test_examples_with_nothing_to_do_are_left_out() -> None:
    assert example_groups(_mask([0, 0, 0])) == []


@pytest.mark.parametrize("seed", range(20))
def test_every_example_with_work_is_in_one_group(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    counts = torch.randint(0, 41, (12,), generator=generator).tolist()
    groups = example_groups(_mask(counts))
    if groups is None:
        return
    together = sorted(index for group in groups for index in group.tolist())
    assert together == [index for index, count in enumerate(counts) if count]
    for group in groups:
        sizes = [counts[index] for index in group.tolist()]
        assert 2 * min(sizes) >= max(sizes)


@pytest.fixture(scope="module")
def network() -> Network:
    return relu_chain([6, 60, 60, 60, 4], 2)


def _uneven(network: Network) -> Interval:
    """Regions from a point to a wide box, so that the numbers of unstable neurons differ most."""
    generator = torch.Generator().manual_seed(7)
    widths = torch.tensor([0.0, 1.0, 0.01, 0.3, 1e-4, 0.03], dtype=torch.float64)
    shape = (len(widths), *network.input_shape)
    center = torch.rand(shape, generator=generator, dtype=torch.float64)
    spread = widths.reshape(-1, *(1,) * len(network.input_shape))
    return Interval(center - spread, center + spread)


@pytest.mark.parametrize("method", BACKWARD)
def test_company_does_not_change_a_bound(network: Network, method: Method) -> None:
    region = _uneven(network)
    margins = random_margins(network, region.batch, 3)
    together = bound_margins(Scene(network, region), margins, method)
    check_sound(network, region, margins, together, 3)
    for index in range(region.batch):
        part = slice(index, index + 1)
        own = Margins(margins.matrix[part], margins.offset[part])
        alone = bound_margins(Scene(network, region[part]), own, method)
        torch.testing.assert_close(together.lower[part], alone.lower, rtol=1e-7, atol=1e-7)


def test_leaving_out_zero_coefficients_changes_nothing(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    from solvers.bounds.rules import affine  # noqa: PLC0415

    region = _uneven(network)
    margins = random_margins(network, region.batch, 4)
    quick = bound_margins(Scene(network, region), margins, Method.CROWN)
    monkeypatch.setattr(affine, "_MANY_ROWS", 10**9)
    plain = bound_margins(Scene(network, region), margins, Method.CROWN)
    torch.testing.assert_close(quick.lower, plain.lower, rtol=1e-9, atol=1e-9)


def test_bounds_of_some_examples_are_put_back_in_place() -> None:
    interval = Interval(torch.zeros(4, 2), torch.ones(4, 2))
    part = Interval(torch.full((2, 2), 0.25), torch.full((2, 2), 0.5))
    found = interval.put(torch.tensor([3, 1]), part)
    assert found.lower[:, 0].tolist() == [0.0, 0.25, 0.0, 0.25]
    assert found.upper[:, 1].tolist() == [1.0, 0.5, 1.0, 0.5]
