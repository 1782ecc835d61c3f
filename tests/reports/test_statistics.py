"""Paired statistics against known values, other software, and their own promise of coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from reports.statistics import Interval, mcnemar, paired_mean, paired_shares, wilson


@given(gained=st.integers(0, 2000), lost=st.integers(0, 2000))
def test_mcnemar_is_the_exact_binomial_test(gained: int, lost: int) -> None:
    wanted = stats.binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    # Next to the smallest numbers digits are lost; what is left says the same to any reader.
    assert mcnemar(gained, lost) == pytest.approx(wanted, rel=1e-9, abs=1e-290)


@pytest.mark.parametrize(
    ("gained", "lost", "p_value"),
    [(0, 0, 1.0), (1, 0, 1.0), (5, 5, 1.0), (6, 0, 2 / 64), (0, 6, 2 / 64), (9, 1, 22 / 1024)],
)
def test_mcnemar_by_hand(gained: int, lost: int, p_value: float) -> None:
    assert mcnemar(gained, lost) == pytest.approx(p_value, rel=1e-12)


def test_mcnemar_of_very_many_inputs() -> None:
    assert mcnemar(30_000, 30_500) == pytest.approx(
        stats.binomtest(30_000, 60_500).pvalue, rel=1e-7
    )
    assert mcnemar(100_000, 0) == 0.0


def flags(gained: int, lost: int, both: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    baseline = np.repeat([False, True, True, False], [gained, lost, both, neither])
    candidate = np.repeat([True, False, True, False], [gained, lost, both, neither])
    return baseline, candidate


def test_a_difference_and_its_interval() -> None:
    found = paired_shares(*flags(20, 5, 50, 25))
    assert found is not None
    assert found.value == pytest.approx(0.15)
    # The normal approximation: sqrt(p₊ + p₋ − (p₊ − p₋)²) / sqrt(n) · 1.96.
    spread = 1.96 * math.sqrt((0.25 - 0.15**2) / 100)
    assert found.low == pytest.approx(0.15 - spread, abs=0.02)
    assert found.high == pytest.approx(0.15 + spread, abs=0.02)
    assert paired_shares(*flags(20, 5, 50, 25)) == found
    few = {paired_shares(*flags(20, 5, 50, 25), seed=seed, resamples=20) for seed in range(9)}
    assert len(few) > 1


def test_the_order_of_inputs_does_not_matter() -> None:
    baseline, candidate = flags(7, 3, 30, 10)
    order = np.random.default_rng(0).permutation(50)
    assert paired_shares(baseline[order], candidate[order]) == paired_shares(baseline, candidate)


def test_drawing_counts_is_drawing_inputs() -> None:
    """The multinomial short cut has the distribution of resampled inputs."""
    baseline, candidate = flags(8, 2, 20, 10)
    change = candidate.astype(float) - baseline
    long_way = paired_mean(list(change), seed=3)
    short_way = paired_shares(baseline, candidate)
    assert long_way is not None
    assert short_way is not None
    assert long_way.value == pytest.approx(short_way.value)
    # Both ends lie on a grid of 1/40, which two seeds may leave by one step.
    assert abs(long_way.low - short_way.low) <= 1 / 40 + 1e-12
    assert abs(long_way.high - short_way.high) <= 1 / 40 + 1e-12


def test_nothing_changes() -> None:
    assert paired_shares(*flags(0, 0, 5, 5)) == Interval(0.0, 0.0, 0.0)
    assert paired_shares(*flags(4, 0, 0, 0)) == Interval(1.0, 1.0, 1.0)
    assert paired_shares(*flags(0, 0, 0, 0)) is None
    assert paired_mean([]) is None
    assert paired_mean([0.5]) == Interval(0.5, 0.5, 0.5)


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    """Of 400 experiments about 95 % cover it; 91 % is four standard deviations below."""
    generator = np.random.default_rng(7)
    gains, losses, count = 0.10, 0.04, 200
    covered = 0
    for seed in range(400):
        gained, lost, rest = generator.multinomial(count, [gains, losses, 1 - gains - losses])
        found = paired_shares(*flags(gained, lost, rest, 0), seed=seed, resamples=1000)
        assert found is not None
        covered += found.low <= gains - losses <= found.high
    assert 0.91 <= covered / 400 <= 0.985


def test_means_cover_the_truth_as_often_as_they_say() -> None:
    generator = np.random.default_rng(8)
    covered = 0
    for seed in range(300):
        found = paired_mean(list(generator.normal(0.3, 1.0, 80)), seed=seed, resamples=600)
        assert found is not None
        covered += found.low <= 0.3 <= found.high
    assert 0.90 <= covered / 300 <= 0.985


def test_many_differences_are_drawn_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    values = list(np.random.default_rng(1).normal(size=500))
    whole = paired_mean(values, resamples=300)
    monkeypatch.setattr("reports.statistics._CHUNK", 1_500)
    assert paired_mean(values, resamples=300) == whole


@given(total=st.integers(1, 5000), share=st.floats(0, 1))
def test_wilson_is_that_of_scipy(total: int, share: float) -> None:
    count = round(share * total)
    found = wilson(count, total)
    assert found is not None
    wanted = stats.binomtest(count, total).proportion_ci(method="wilson")
    assert found.value == count / total
    assert found.low == pytest.approx(wanted.low, abs=1e-12)
    assert found.high == pytest.approx(wanted.high, abs=1e-12)
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_wilson_of_nothing() -> None:
    assert wilson(0, 0) is None
