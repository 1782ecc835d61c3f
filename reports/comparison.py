"""The report of a comparison: candidates beside a baseline, input by input.

Works from items as certifications report them, so that answers that are stored already can be
compared by a process that loads no mathematics.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reports.numbers import finite, strict
from reports.statistics import RESAMPLES, Interval, mcnemar, paired_mean, paired_shares, wilson
from reports.summary import certified, correct, gap_of, summarize

__all__ = ["comparison_of", "comparison_report"]

Item = Mapping[str, Any]
Predicate = Callable[[Item], bool]
Flags = NDArray[np.bool_]


class _Bootstrap(NamedTuple):
    """How intervals are drawn."""

    seed: int
    resamples: int


def comparison_report(
    baseline: Mapping[str, Any],
    candidates: Sequence[Mapping[str, Any]],
    *,
    region: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """Return what `compare --json` writes, ready for strict JSON.

    Args:
        baseline: `name`, `items` as a certification reports them, and whatever else identifies the
            network; `layers` where tightness was measured.
        candidates: The same of each, over the same inputs.
        region: `norm`, `epsilon`, `valid_range`.
        settings: `methods`, in the order to report them, `seed`, and how they were run.

    Returns:
        `{region, settings, baseline, candidates}`.

    Raises:
        ValueError: A candidate was certified on other inputs than the baseline.
    """
    compared = comparison_of(
        baseline,
        candidates,
        methods=[str(method) for method in settings.get("methods", ())],
        seed=int(settings.get("seed", 0)),
    )
    report = {"region": region, "settings": settings, **compared}
    return {part: strict(content) for part, content in report.items()}


def comparison_of(
    baseline: Mapping[str, Any],
    candidates: Sequence[Mapping[str, Any]],
    *,
    methods: Sequence[str],
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict[str, Any]:
    """Return the figures of a comparison.

    Args:
        baseline: As for `comparison_report`.
        candidates: The same.
        methods: The methods to report, in this order.
        seed: Of the bootstrap.
        resamples: Of the bootstrap; fewer give coarser intervals sooner.

    Returns:
        `baseline`, with `name`, `summary`, `intervals` and `tightness`, and `candidates`, each
        with these and more. `difference` by method: `certified_accuracy`, candidate minus
        baseline, the ends `low` and `high` of its 95 % interval from a paired bootstrap, the
        `p_value` of McNemar's exact test; `gained` and `lost` count the inputs that only one of
        both proves; `mean_gap` is the mean change of the gap with its interval. `accuracy`: the
        same of `clean` and `empirical` accuracy. `certified_gap`: its change. `gained` and
        `lost`: the inputs that are `verified` for one of both only. `changes`: every input whose
        verdict changed.

    Raises:
        ValueError: A candidate was certified on other inputs than the baseline.
    """
    labelled = [_labels(entry["items"]) for entry in (baseline, *candidates)]
    for entry, labels in zip(candidates, labelled[1:], strict=True):
        if labels != labelled[0]:
            raise ValueError(
                f"{entry.get('name')!r} and {baseline.get('name')!r} were certified on different "
                "inputs; compare them on the same ones"
            )
    bootstrap = _Bootstrap(seed, resamples)
    return {
        "baseline": _side(baseline, methods),
        "candidates": [
            {**_side(candidate, methods), **_compared(baseline, candidate, methods, bootstrap)}
            for candidate in candidates
        ],
    }


def _labels(items: Sequence[Item]) -> list[tuple[object, object]]:
    return [(item.get("index"), item.get("label")) for item in items]


def _side(entry: Mapping[str, Any], methods: Sequence[str]) -> dict[str, Any]:
    """Return what there is to say of one network by itself."""
    items = entry["items"]
    layers = entry.get("layers")
    return {
        **{key: value for key, value in entry.items() if key not in ("items", "layers")},
        "summary": summarize(items, methods),
        "intervals": _intervals(items, methods),
        "tightness": None if layers is None else _tightness(layers),
    }


def _intervals(items: Sequence[Item], methods: Sequence[str]) -> dict[str, Any]:
    """Return the 95 % intervals of all accuracies, as `[low, high]`."""

    def ends(holds: Predicate) -> list[float] | None:
        interval = wilson(sum(map(holds, items)), len(items))
        return None if interval is None else [interval.low, interval.high]

    return {
        "clean_accuracy": ends(correct),
        "empirical_accuracy": ends(_withstands),
        "certified_accuracy": {method: ends(_proved_by(method)) for method in methods},
    }


def _tightness(layers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the layers with their sums; the slack of a network adds up over its layers."""
    return {name: _total(layers, name) for name in ("unstable", "slack")} | {"layers": list(layers)}


def _total(layers: Sequence[Mapping[str, Any]], name: str) -> float | None:
    """Return the sum over all layers; None where bounds were infinite and one is not known."""
    values = [finite(layer[name]) for layer in layers]
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _withstands(item: Item) -> bool:
    return correct(item) and item.get("verdict") != "falsified"


def _verified(item: Item) -> bool:
    return item.get("verdict") == "verified"


def _proved_by(method: str) -> Predicate:
    return lambda item: certified(item, method)


def _compared(
    baseline: Mapping[str, Any],
    candidate: Mapping[str, Any],
    methods: Sequence[str],
    bootstrap: _Bootstrap,
) -> dict[str, Any]:
    """Return how a candidate differs from the baseline."""
    before, after = baseline["items"], candidate["items"]
    summaries = [summarize(items, methods) for items in (before, after)]
    gaps = [summary["certified_gap"] for summary in summaries]
    was, now = _flags(before, _verified), _flags(after, _verified)
    return {
        "difference": {
            method: {
                **_share_change(before, after, _proved_by(method), "certified_accuracy", bootstrap),
                **_gap_change(before, after, method, bootstrap),
            }
            for method in methods
        },
        "accuracy": {
            "clean": _share_change(before, after, correct, "difference", bootstrap),
            "empirical": _share_change(before, after, _withstands, "difference", bootstrap),
        },
        "certified_gap": None if None in gaps else gaps[1] - gaps[0],
        "gained": _indices(after, now & ~was),
        "lost": _indices(after, was & ~now),
        "changes": _changes(before, after),
    }


def _flags(items: Sequence[Item], holds: Predicate) -> Flags:
    return np.fromiter(map(holds, items), dtype=np.bool_, count=len(items))


def _indices(items: Sequence[Item], flags: Flags) -> list[Any]:
    return [item.get("index") for item, flag in zip(items, flags, strict=True) if flag]


def _share_change(
    before: Sequence[Item], after: Sequence[Item], holds: Predicate, key: str, bootstrap: _Bootstrap
) -> dict[str, Any]:
    """Return the change of a share, its interval and p-value, and the inputs behind it."""
    was, now = _flags(before, holds), _flags(after, holds)
    gained, lost = (int(np.count_nonzero(flags)) for flags in (now & ~was, was & ~now))
    interval = paired_shares(was, now, seed=bootstrap.seed, resamples=bootstrap.resamples)
    return {
        **_ends(interval, key),
        "p_value": mcnemar(gained, lost),
        "gained": gained,
        "lost": lost,
    }


def _gap_change(
    before: Sequence[Item], after: Sequence[Item], method: str, bootstrap: _Bootstrap
) -> dict[str, Any]:
    """Return the mean change of the gap over the inputs where both have one."""
    pairs = [
        (gap_of(one, method), gap_of(two, method)) for one, two in zip(before, after, strict=True)
    ]
    changes = [now - was for was, now in pairs if was is not None and now is not None]
    found = paired_mean(changes, seed=bootstrap.seed, resamples=bootstrap.resamples)
    interval = _ends(found, "value")
    return {"mean_gap": {**interval, "count": len(changes)}}


def _ends(interval: Interval | None, key: str) -> dict[str, float | None]:
    if interval is None:
        return {key: None, "low": None, "high": None}
    return {key: interval.value, "low": interval.low, "high": interval.high}


def _changes(before: Sequence[Item], after: Sequence[Item]) -> list[dict[str, Any]]:
    """Return every input whose verdict changed, with both verdicts."""
    return [
        {
            "index": now.get("index"),
            "label": now.get("label"),
            "baseline": was.get("verdict"),
            "candidate": now.get("verdict"),
        }
        for was, now in zip(before, after, strict=True)
        if was.get("verdict") != now.get("verdict")
    ]
