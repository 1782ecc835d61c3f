"""Time of one training step, and what each regularizer adds to it.

`python -m benchmarks.training.steps [--batch 256] [--threads 1] [--architecture cnn-small]`

Times are of the process, not of the clock on the wall, and the least of several runs, so that
what else a machine does counts as little as possible.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from benchmarks.shared import print_table
from models.architectures import build_architecture
from models.network import Network
from training import FeasibilityForm, TrainingMethod, TrainingOptions
from training.losses import Batch, step_loss
from training.schedules import Stage

_REPEATS = 8
_EPSILON = 0.1
_WEIGHT = 0.1
_ARMS: Mapping[str, Mapping[str, object]] = {
    "none": {},
    "r": {"slack_weight": _WEIGHT},
    "d": {"feasibility_weight": _WEIGHT},
    "d, all inputs": {"feasibility_weight": _WEIGHT, "feasibility_share": 1.0},
    "d, objective": {
        "feasibility_weight": _WEIGHT,
        "feasibility_form": FeasibilityForm.OBJECTIVE,
    },
    "d and r": {"feasibility_weight": _WEIGHT, "slack_weight": _WEIGHT},
}
_BASELINES: Mapping[str, Mapping[str, object]] = {
    "standard": {"method": TrainingMethod.STANDARD},
    "ibp": {"method": TrainingMethod.IBP},
    "crown-ibp": {"method": TrainingMethod.CROWN_IBP},
    "crown-ibp, no fusion": {"method": TrainingMethod.CROWN_IBP, "loss_fusion": False},
    "sabr": {"method": TrainingMethod.SABR},
    "mtl-ibp": {"method": TrainingMethod.MTL_IBP},
    "fast-lin": {"method": TrainingMethod.FAST_LIN},
}


def milliseconds(step: Callable[[], object], repeats: int) -> float:
    """Return the least time of a step, after two that warm up."""
    step()
    step()
    best = float("inf")
    for _ in range(repeats):
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        began = time.process_time()
        step()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        best = min(best, time.process_time() - began)
    return 1000 * best


def stepper(network: Network, x: Tensor, labels: Tensor, **settings: object) -> Callable[[], None]:
    """Return a function that makes one step's loss and its gradient."""
    options = TrainingOptions(epsilon=_EPSILON, epochs=1, **settings)  # type: ignore[arg-type]
    weights = options.feasibility_weight, options.slack_weight
    stage = Stage(_EPSILON, 0.5, *weights)
    leaves = {
        name: value.detach().clone().requires_grad_() for name, value in network.parameters.items()
    }
    trained = network.with_parameters(leaves)

    def step() -> None:
        batch = Batch(x, labels, torch.Generator().manual_seed(0))
        step_loss(trained, batch, stage, options).total.backward()  # type: ignore[no-untyped-call]
        for leaf in leaves.values():
            leaf.grad = None

    return step


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--architecture", default="cnn-small")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--baselines", default="standard,ibp,crown-ibp,sabr,mtl-ibp")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = build_architecture(arguments.architecture, (1, 28, 28), 10, seed=0)
    network = network.to(torch.float32, device)
    source = torch.Generator().manual_seed(0)
    x = torch.rand(arguments.batch, *network.input_shape, generator=source).to(device)
    labels = torch.randint(0, 10, (arguments.batch,), generator=source).to(device)
    rows = []
    for name in arguments.baselines.split(","):
        times = {
            arm: milliseconds(stepper(network, x, labels, **_BASELINES[name], **extra), _REPEATS)
            for arm, extra in _ARMS.items()
            if name != "standard" or arm == "none"
        }
        base = times["none"]
        rows.append(
            [name, f"{base:.1f}"]
            + [f"{times[arm] / base:.2f}" if arm in times else "" for arm in list(_ARMS)[1:]]
        )
    print_table(
        f"Step of {arguments.architecture}, batch {arguments.batch}, {device}, "
        f"{arguments.threads} thread(s): milliseconds, and times as long with a regularizer",
        ["method", "ms", *list(_ARMS)[1:]],
        rows,
    )


if __name__ == "__main__":
    main()
