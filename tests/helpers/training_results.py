"""What trainings say and leave, without any training."""

from __future__ import annotations

from typing import Any


def epoch(number: int, **changes: object) -> dict[str, Any]:
    """Return an epoch that gets better with its number."""
    plain = {
        "epoch": number,
        "epsilon": 0.1 * min(number, 4) / 4,
        "kappa": min(number, 4) / 4,
        "learning_rate": 5e-4,
        "loss": {"total": 2.0 / number, "clean": 1.0 / number, "robust": 3.0 / number},
        "clean_accuracy": 1 - 0.2 / number,
        "empirical_accuracy": 1 - 0.3 / number,
        "certified_accuracy": 1 - 0.5 / number,
        "mean_bound": -1.0 / number,
        "mean_gap": 1.0 / number,
        "unstable": {"relu_1": 12.5 / number, "relu_2": 3.0},
        "seconds": 0.25,
    }
    return {**plain, **changes}


def result(epochs: int, **changes: object) -> dict[str, Any]:
    """Return what training so many epochs leaves; the last one is the best."""
    plain = {
        "best_epoch": epochs,
        "stopped": "completed",
        "seconds": 0.25 * epochs,
        "settings": {"software": {"torch": "2"}, "split": {"share": 0.1, "seed": 0}},
        "history": [epoch(number) for number in range(1, epochs + 1)],
    }
    return {**plain, **changes}


SETTINGS: dict[str, Any] = {
    "method": "crown-ibp",
    "epsilon": 0.1,
    "epochs": 6,
    "feasibility_weight": 0.5,
    "slack_weight": 0.25,
    "optimiser": {"kind": "adam", "milestones": [0.75, 0.9], "gradient_clip": None},
}
