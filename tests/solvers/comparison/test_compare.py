"""Networks certified side by side: like each of them alone, checked before any work."""

from __future__ import annotations

import numpy as np
import pytest

from models import Dataset, Network, load_network
from models.errors import DataError, InvalidInputError, ShapeError
from reports import comparison_report
from solvers.certification import CertifyOptions, certify_items
from solvers.comparison import compare_networks
from solvers.errors import MemoryLimitError
from solvers.methods import Method
from tests.helpers.networks import mlp

OPTIONS = CertifyOptions(
    epsilon=0.05, methods=(Method.IBP, Method.CROWN, Method.EXACT), device="cpu"
)


def network(seed: int, sizes: tuple[int, ...] = (4, 8, 8, 3), name: str = "") -> Network:
    return load_network(mlp(sizes, seed=seed), name=name or f"n{seed}")


@pytest.fixture
def data() -> Dataset:
    x = np.random.default_rng(5).uniform(0.1, 0.9, (6, 4)).astype(np.float32)
    return Dataset(x, np.array([0, 1, 2, 0, 1, 2]))


def test_every_network_is_certified_as_it_would_be_alone(data: Dataset) -> None:
    networks = [network(0), network(1), network(2)]
    told: list[tuple[str, int]] = []
    comparison = compare_networks(
        networks[0],
        networks[1:],
        data,
        OPTIONS,
        indices=[1, 2, 4],
        progress=lambda name, item: told.append((name, item.index)),
    )
    assert comparison.complete
    assert told == [(name, index) for name in ("n0", "n1", "n2") for index in (1, 2, 4)]
    for arm, alone in zip((comparison.baseline, *comparison.candidates), networks, strict=True):
        assert arm.network is alone
        assert arm.layers is not None
        assert [layer.neurons for layer in arm.layers] == [8, 8]
        for found, wanted in zip(
            arm.items, certify_items(alone, data, OPTIONS, indices=[1, 2, 4]), strict=True
        ):
            assert (found.index, found.verdict) == (wanted.index, wanted.verdict)
            assert found.lower["crown"] == wanted.lower["crown"] if found.lower else True


def test_a_report_is_made_of_it(data: Dataset) -> None:
    comparison = compare_networks(network(0), [network(1)], data, OPTIONS)
    report = comparison_report(
        comparison.baseline.to_json(),
        [arm.to_json() for arm in comparison.candidates],
        region={"norm": "inf", "epsilon": 0.05, "valid_range": [0.0, 1.0]},
        settings={"methods": list(OPTIONS.methods)},
    )
    assert report["baseline"]["summary"]["count"] == 6
    assert len(report["baseline"]["tightness"]["layers"]) == 2
    (candidate,) = report["candidates"]
    change = candidate["difference"]["exact"]
    shares = [
        side["summary"]["certified_accuracy"]["exact"] for side in (report["baseline"], candidate)
    ]
    assert change["certified_accuracy"] == pytest.approx(shares[1] - shares[0])


def test_networks_of_other_classes_are_refused(data: Dataset) -> None:
    with pytest.raises(ShapeError, match="'odd' has 4 outputs, the baseline 'n0' 3"):
        compare_networks(network(0), [network(1, (4, 5, 4), "odd")], data, OPTIONS)


def test_networks_that_do_not_fit_the_data_are_named(data: Dataset) -> None:
    with pytest.raises(ShapeError, match="network 'odd': the data set's inputs have shape"):
        compare_networks(network(0), [network(1, (5, 5, 3), "odd")], data, OPTIONS)
    labels = Dataset(data.x, np.full(6, 3))
    with pytest.raises(DataError, match="network 'n0': label 3"):
        compare_networks(network(0), [network(1)], labels, OPTIONS)


def test_a_candidate_is_needed(data: Dataset) -> None:
    with pytest.raises(InvalidInputError, match="there is no candidate"):
        compare_networks(network(0), [], data, OPTIONS)


def test_nothing_is_computed_before_everything_is_checked(
    data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "solvers.comparison.compare.certify_items", lambda *_a, **_k: pytest.fail("it began")
    )
    with pytest.raises(ShapeError):
        compare_networks(network(0), [network(1, (4, 5, 4))], data, OPTIONS)


@pytest.mark.parametrize("after", [0, 1, 4])
def test_cancelling_leaves_it_incomplete(data: Dataset, after: int) -> None:
    told: list[int] = []
    comparison = compare_networks(
        network(0),
        [network(1)],
        data,
        OPTIONS,
        cancelled=lambda: len(told) >= after,
        progress=lambda _name, item: told.append(item.index),
    )
    assert not comparison.complete
    assert len(comparison.baseline.items) <= 6
    assert len(told) < 12


def test_layers_that_do_not_fit_into_memory_are_left_out(
    data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise MemoryLimitError("too large")

    monkeypatch.setattr("solvers.comparison.compare.layer_tightness", refuse)
    comparison = compare_networks(network(0), [network(1)], data, OPTIONS, indices=[0])
    assert comparison.baseline.layers is None
    assert comparison.baseline.to_json()["layers"] is None
