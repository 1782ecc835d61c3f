"""An engine of trainings that computes nothing, for the worker around it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tests.helpers.service import NETWORK_DETAILS
from tests.helpers.training_results import epoch
from worker.work import ArmOutcome, TrainingWork

STEPS, EPOCHS = 6, 2
PER_EPOCH = STEPS // EPOCHS


def event(step: int, *, ends_epoch: bool = False) -> dict[str, Any]:
    """Return what is said after a step, or at the end of its epoch."""
    number = (step - 1) // PER_EPOCH + 1
    return {
        "step": step,
        "steps": STEPS,
        "epoch": number,
        "epochs": EPOCHS,
        "epsilon": 0.1 * step / STEPS,
        "kappa": step / STEPS,
        "loss": {"total": 1.0 / step, "robust": float("nan")},
        "metrics": epoch(number) if ends_epoch else None,
    }


class ScriptedTrainer:
    """Trains in six steps and two epochs, and writes its step down after each epoch.

    Args:
        before: Called with arm and step before each step; may raise, or change the world.
    """

    def __init__(self, before: Callable[[str, int], object] = lambda _arm, _step: None) -> None:
        self.works: list[TrainingWork] = []
        self.steps: list[tuple[str, int]] = []
        self._before = before

    def __call__(
        self,
        work: TrainingWork,
        cancelled: Callable[[], bool],
        progress: Callable[[Mapping[str, Any]], None],
    ) -> ArmOutcome:
        """Go on from the last epoch that was finished."""
        self.works.append(work)
        stored = work.checkpoint / "step"
        done = int(stored.read_text()) if stored.exists() else 0
        while done < STEPS:
            self._before(work.arm, done + 1)
            if cancelled():
                break
            done += 1
            self.steps.append((work.arm, done))
            progress(event(done))
            if done % PER_EPOCH == 0:
                progress(event(done, ends_epoch=True))
                work.checkpoint.mkdir(parents=True, exist_ok=True)
                stored.write_text(str(done))
        return _outcome(work, done)


def _outcome(work: TrainingWork, done: int) -> ArmOutcome:
    epochs = done // PER_EPOCH
    stopped = "completed" if done == STEPS else "cancelled"
    return ArmOutcome(
        cancelled=done < STEPS,
        result={
            "best_epoch": epochs,
            "epochs": epochs,
            "stopped": stopped,
            "seconds": 0.5,
            "best": epoch(epochs) if epochs else None,
            "record": {"software": {"torch": "2"}},
        },
        onnx=f"{work.arm} after {done}".encode(),
        details=NETWORK_DETAILS,
        checkpoint=b"safe" if epochs else None,
        validation_indices=None if work.validation is not None else (1, 3),
    )
