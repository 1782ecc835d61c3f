"""A service with something of everything to look at: made of numbers, none of them computed."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from reports.comparison import comparison_of
from reports.summary import summarize
from store.chunks import Claim
from store.trainings import Metric
from store.workers import Workers
from tests.helpers.api import Api
from tests.helpers.service import NETWORK_DETAILS, comparing, item
from tests.helpers.training_results import epoch

SIDE = 14
METHODS = ("ibp", "crown", "alpha-crown", "exact")
_CLASSES = 6
_INPUTS = 60
_SECONDS = {"attack": 0.05, "ibp": 0.002, "crown": 0.01, "alpha-crown": 0.3, "exact": 2.0}
_DETAILS: dict[str, Any] = {
    **NETWORK_DETAILS,
    "input_shape": [1, 1, SIDE, SIDE],
    "output_shape": [1, _CLASSES],
    "outputs": _CLASSES,
    "parameters": 48_166,
    "nodes": 9,
    "operators": {"Conv": 2, "Relu": 3, "Reshape": 1, "Linear": 2},
}


def picture(index: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return a bright spot on a dark ground, elsewhere for each index."""
    across, down = np.meshgrid(np.arange(SIDE), np.arange(SIDE))
    at = (SIDE / 2 + 3 * math.cos(index), SIDE / 2 + 3 * math.sin(index))
    return np.exp(-((across - at[0]) ** 2 + (down - at[1]) ** 2) / 9.0)


def answer(index: int, *, epsilon: float = 0.03) -> dict[str, Any]:
    """Return what could have been found out about an input."""
    generator = np.random.default_rng(index)
    margin = float(generator.normal(1.2, 1.0)) - 12 * epsilon
    looseness = {"ibp": 6.0, "crown": 1.5, "alpha-crown": 0.7}
    lower = {
        method: margin - scale * float(generator.uniform(0.3, 1.0))
        for method, scale in looseness.items()
    }
    label = index % _CLASSES
    if index % 23 == 5:
        return item(index, "misclassified", label=label, predicted=(label + 1) % _CLASSES,
                    evidence="checked", lower={}, upper=None, gap={}, seconds={})  # fmt: skip
    verdict = "falsified" if margin < 0 else "unknown" if margin < 0.15 else "verified"
    exact = [margin - 0.4, margin] if verdict == "unknown" else [margin, margin]
    more: dict[str, Any] = {}
    if verdict == "falsified":
        plain = picture(index)
        moved = np.clip(plain + epsilon * np.sign(generator.normal(size=plain.shape)), 0, 1)
        outputs = [0.5] * _CLASSES
        outputs[(label + 1) % _CLASSES] = 0.9
        more = {"counterexample": {"x": moved.ravel().tolist(), "y": outputs},
                "input": plain.ravel().tolist(), "evidence": "checked"}  # fmt: skip
    if verdict == "verified":
        proof = {"bytes": 4_123, "leaves": 3, "margin": 0.9 * margin, "reason": None,
                 "deployment_margin": margin / 2,
                 "proving_seconds": 0.31, "checking_seconds": 0.12}  # fmt: skip
        more = {"evidence": "checked", "proof": proof, "deployment_sound": True,
                "proof_file": base64.b64encode(bytes(4_123)).decode()}  # fmt: skip
    if verdict == "unknown":
        more = {"reason": "timeout", "evidence": "none",
                "status": dict.fromkeys(METHODS, "done") | {"exact": "timeout"}}  # fmt: skip
    return item(
        index, verdict, label=label, predicted=label, lower=lower, upper=margin, exact=exact,
        gap={method: margin - bound for method, bound in lower.items()},
        seconds={name: usual * generator.uniform(0.5, 2) for name, usual in _SECONDS.items()},
        **more,
    )  # fmt: skip


class Exhibition:
    """A service and the pages of what is in it.

    Args:
        api: The service, empty.
    """

    def __init__(self, api: Api) -> None:
        self._world = api.world
        world = self._world
        Workers(world.database).seen("w", queues="bounds,exact", device="cpu", version="1")
        world.network = world.upload(world.networks, b"cnn", "chest-scans-cnn.onnx", _DETAILS)
        world.upload(world.networks, b"new", "not-certified-yet.onnx", _DETAILS)
        history = [self.certification(e, range(_INPUTS)) for e in (0.01, 0.03, 0.06, 0.03)]
        self.running = self.certification(0.05, range(40), of=120)
        queued = world.certify(range(500), epsilon=0.1).id
        failed = world.certify(range(3)).id
        assert world.jobs.claim(failed, "somebody")
        told = "the data set has inputs of shape (4,), the network takes (1, 14, 14)"
        error = {"type": "ShapeError", "message": told}
        world.jobs.finish(failed, "somebody", "failed", error=error)
        last = f"/certifications/{history[-1]}"
        compared = f"/comparisons/{self._comparison()}"
        trained = f"/trainings/{self._training()}"
        falsified = self._first("falsified")
        self.paths: Mapping[str, str] = {
            "overview": "/",
            "networks": "/networks",
            "network": f"/networks/{world.network}",
            "certifications": "/certifications",
            "certification": last,
            "certification-running": f"/certifications/{self.running}",
            "certification-queued": f"/certifications/{queued}",
            "certification-failed": f"/certifications/{failed}",
            "input-verified": f"{last}/inputs/{self._first('verified')}",
            "input-falsified": f"{last}/inputs/{falsified}",
            "input-unknown": f"{last}/inputs/{self._first('unknown')}",
            "comparisons": "/comparisons",
            "comparison": compared,
            "compared-input": f"{compared}/inputs/{falsified}",
            "trainings": "/trainings",
            "training": trained,
            "cancel": f"/certifications/{self.running}/cancel",
            "new-certification": "/new/certification?epsilon=0.03&sent=1&timeout_seconds=-5",
            "new-comparison": "/new/comparison",
            "new-training": "/new/training",
            "settings": "/settings",
            "not-found": "/networks/net_nothing",
        }

    def certification(
        self, epsilon: float, indices: Sequence[int], *, of: int | None = None
    ) -> str:
        """Store a certification with its answers; with `of`, one that goes on to so many."""
        world = self._world
        asked = range(len(indices) if of is None else of)
        row = world.certify(asked, epsilon=epsilon, methods=list(METHODS), proofs=True)
        assert world.jobs.claim(row.id, "somebody")
        answers = [answer(index, epsilon=epsilon) for index in indices]
        world.certifications.add_items(Claim(row.id, "certification", "", "somebody"), answers)
        if of is None:
            world.certifications.succeed(row.id, "somebody", summarize(answers, METHODS))
        return row.id

    def _comparison(self) -> str:
        """Store a comparison of two networks, the second of which withstands more."""
        world, indices = self._world, range(_INPUTS)
        row = world.compare(indices, epsilon=0.03, methods=list(METHODS))
        assert world.jobs.claim(row.id, "somebody")
        arms = [[answer(index, epsilon=e) for index in indices] for e in (0.05, 0.01)]
        sides = []
        for position, (name, items) in enumerate(zip(("plain", "tight"), arms, strict=True)):
            world.comparisons.add_items(comparing(row.id, "somebody", position), items)
            layers = [
                {"name": f"Relu_{depth}", "neurons": 64, "unstable": (20.0 - 12 * position) / depth,
                 "slack": (1.0 - 0.7 * position) / depth}
                for depth in (1, 2, 3)
            ]  # fmt: skip
            sides.append({"name": f"scans-{name}.onnx", "network_id": world.network, "sha256": "0",
                          "items": items, "layers": layers})  # fmt: skip
        result = comparison_of(sides[0], sides[1:], methods=list(METHODS))
        world.comparisons.succeed(row.id, "somebody", result)
        return row.id

    def _training(self) -> str:
        """Store a training with a twin that goes on, five of its twenty epochs done."""
        world = self._world
        made = world.train(baseline=True, epochs=20, name="scans, made tight").id
        assert world.jobs.claim(made, "w")
        steps = 10
        for arm in ("candidate", "baseline"):
            metrics = []
            for step in range(1, 5 * steps + 1):
                number = (step - 1) // steps + 1
                entry = {
                    "arm": arm, "step": step, "steps": 20 * steps, "epoch": number, "epochs": 20,
                    "epsilon": 0.05 * min(1.0, step / 30), "kappa": min(1.0, step / 30),
                    "loss": {"total": 2 / step**0.5, "clean": 1 / step**0.5,
                             "robust": 3 / step**0.5},
                    "metrics": None if step % steps else epoch(number),
                }  # fmt: skip
                metrics.append(Metric(arm, 2 * step, entry))
            world.trainings.note(made, "w", metrics, done=5 * steps, total=40 * steps)
        return made

    def _first(self, verdict: str) -> int:
        found = (answer(index) for index in range(_INPUTS))
        return next(one["index"] for one in found if one["verdict"] == verdict)
