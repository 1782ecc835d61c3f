"""Every method on random graphs: no value found by sampling or by descent is below its bound."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from models.network import Network
from solvers.methods import BOUND_METHODS, Method
from tests.helpers.random_graphs import (
    networks,
    seeds,
)
from tests.solvers.bounds.support import (
    WIDTHS,
    bound,
    check_sound,
    random_margins,
    random_region,
)

methods = pytest.mark.parametrize("method", BOUND_METHODS)


@methods
@settings(max_examples=60, derandomize=True)
@given(network=networks(), seed=seeds)
def test_bounds_hold_on_random_graphs(method: Method, network: Network, seed: int) -> None:
    region = random_region(network, seed, WIDTHS)
    margins = random_margins(network, region.batch, seed + 1)
    check_sound(network, region, margins, bound(network, region, margins, method), seed)
