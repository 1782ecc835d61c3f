"""Regularised training beside its baseline on MNIST: the same data, order, weights and schedule.

`python -m benchmarks.training.paired --out RESULTS.csv [--seeds 0,1,2] [--images 5000] …`

One line is appended to the file per finished run, so that a run that was stopped goes on where it
was. `python -m benchmarks.training.pictures RESULTS.csv` draws it. With `--networks FOLDER` the
trained networks are kept, and `benchmarks.training.exact` asks more of them.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.shared import shared_folder
from models.architectures import Initialisation, build_architecture
from models.data import Dataset
from models.export import write_network
from solvers.methods import Method
from training import (
    FeasibilityForm,
    OptimiserOptions,
    RampOptions,
    SelectionOptions,
    TrainingMethod,
    TrainingOptions,
    TrainingResult,
    train,
)
from training.evaluation import evaluate

__all__ = [
    "Data",
    "Run",
    "Weights",
    "complete",
    "finished",
    "main",
    "measured",
    "mnist",
    "planned",
    "plans",
    "text",
    "trained",
]

Data = tuple[Dataset, Dataset, Dataset]
"""For training, for choosing the best epoch, and for testing."""


@dataclass(frozen=True)
class Weights:
    """λ and γ of one arm."""

    feasibility: float = 0.0
    slack: float = 0.0
    form: str = "distance"


@dataclass(frozen=True)
class Run:
    """One training run; its fields are the first columns of the results."""

    method: str
    architecture: str
    epsilon: float
    arm: str
    feasibility_weight: float
    slack_weight: float
    form: str
    seed: int
    images: int
    epochs: int
    batch: int
    learning_rate: float
    initialisation: str
    loss_fusion: bool

    @property
    def options(self) -> TrainingOptions:
        """The settings of the engine."""
        return TrainingOptions(
            method=TrainingMethod(self.method),
            epsilon=self.epsilon,
            epochs=self.epochs,
            feasibility_weight=self.feasibility_weight,
            slack_weight=self.slack_weight,
            feasibility_form=FeasibilityForm(self.form),
            loss_fusion=self.loss_fusion,
            batch_size=self.batch,
            seed=self.seed,
            optimiser=OptimiserOptions(learning_rate=self.learning_rate),
            ramp=RampOptions(warm_up=0.1, ramp=0.5),
            selection=SelectionOptions(count=300),
        )

    @property
    def key(self) -> tuple[str, ...]:
        """What tells the run from others, as the file writes it."""
        return tuple(text(value) for value in asdict(self).values())

    @property
    def stem(self) -> str:
        """A name for the file of the trained network."""
        epsilon = text(self.epsilon)
        return (
            f"{self.architecture.replace(':', '-')}-{self.method}-{epsilon}-{self.arm}-{self.seed}"
        )


def text(value: object) -> str:
    """Return a value as the results write it."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def mnist(images: int, tests: int) -> Data:
    """Return the first training images, the last 1000 of all for validation, and test images."""
    data = np.load(shared_folder() / "data" / "mnist.npz")

    def part(name: str, chosen: slice) -> Dataset:
        x = data[f"x_{name}"][chosen].astype(np.float32).reshape(-1, 1, 28, 28) / 255
        return Dataset(x, data[f"y_{name}"][chosen].astype(np.int64), f"mnist-{name}")

    held_out = slice(-1000, None)
    return part("train", slice(0, images)), part("train", held_out), part("test", slice(0, tests))


def trained(run: Run, data: Data) -> TrainingResult:
    """Make one run."""
    training, validation, _ = data
    network = build_architecture(
        run.architecture,
        training.shape,
        10,
        seed=run.seed,
        initialisation=Initialisation(run.initialisation),
    )
    return train(network, training, validation, run.options)


def measured(run: Run, data: Data, networks: Path | None = None) -> dict[str, Any]:
    """Train, measure the best epoch on all test images, and return the line of the results.

    Args:
        run: To be made.
        data: Of the run.
        networks: Folder to keep the trained network in, or None.
    """
    result = trained(run, data)
    if networks is not None:
        networks.mkdir(parents=True, exist_ok=True)
        (networks / f"{run.stem}.onnx").write_bytes(write_network(result.network))
    began = time.perf_counter()
    options = replace(run.options, selection=SelectionOptions())
    certified = {
        method: evaluate(result.network, data[2], options, certified_by=method)
        for method in (Method.IBP, Method.CROWN_IBP, Method.CROWN)
    }
    tight = certified[Method.CROWN]
    return {
        **asdict(run),
        "clean": tight.clean_accuracy,
        "pgd": tight.empirical_accuracy,
        "ibp": certified[Method.IBP].certified_accuracy,
        "crown_ibp": certified[Method.CROWN_IBP].certified_accuracy,
        "crown": tight.certified_accuracy,
        "gap_crown_ibp": certified[Method.CROWN_IBP].mean_gap,
        "gap_crown": tight.mean_gap,
        "unstable_ibp": sum(certified[Method.CROWN_IBP].unstable.values()),
        "unstable_crown": sum(tight.unstable.values()),
        "best_epoch": result.best_epoch,
        "train_seconds": result.seconds,
        "test_seconds": time.perf_counter() - began,
    }


_COLUMNS = tuple(field.name for field in fields(Run))


def finished(path: Path) -> set[tuple[str, ...]]:
    """Return the keys of the runs that a file holds."""
    if not path.exists():
        return set()
    with path.open(newline="", encoding="utf-8") as stream:
        return {tuple(row[name] for name in _COLUMNS) for row in csv.DictReader(stream)}


def append(path: Path, row: Mapping[str, Any]) -> None:
    """Append a line, under a header if it is the first."""
    fresh = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(row), lineterminator="\n")
        if fresh:
            writer.writeheader()
        writer.writerow({name: text(value) for name, value in row.items()})


# Found on MNIST by short runs of `crown-ibp` with seed 0, and taken over for the other baselines;
# for CIFAR-10 those of MNIST at the smaller epsilon.
_WEIGHTS: Mapping[float, Mapping[str, Weights]] = {
    2 / 255: {
        "none": Weights(),
        "d": Weights(feasibility=1.0),
        "r": Weights(slack=0.5),
        "both": Weights(feasibility=1.0, slack=0.5),
    },
    0.1: {
        "none": Weights(),
        "d": Weights(feasibility=1.0),
        "r": Weights(slack=0.5),
        "both": Weights(feasibility=1.0, slack=0.5),
    },
    0.3: {
        "none": Weights(),
        "d": Weights(feasibility=0.5),
        "r": Weights(slack=0.2),
        "both": Weights(feasibility=0.5, slack=0.2),
    },
}


def planned(arguments: argparse.Namespace) -> Iterator[Run]:
    """Yield the runs, all arms of one seed together, so that every prefix is paired."""
    for seed in (int(text) for text in arguments.seeds.split(",")):
        for method in arguments.methods.split(","):
            for epsilon in (float(text) for text in arguments.epsilons.split(",")):
                for arm, weights in _WEIGHTS[epsilon].items():
                    yield Run(
                        method=method,
                        # Bounds of every layer by backward passes take too long on a processor
                        # for a convolutional network.
                        architecture="mlp:100,100" if method == "fast-lin" else "cnn-small",
                        epsilon=epsilon,
                        arm=arm,
                        feasibility_weight=weights.feasibility * arguments.weights,
                        slack_weight=weights.slack * arguments.weights,
                        form=weights.form,
                        seed=seed,
                        images=arguments.images,
                        epochs=arguments.epochs,
                        batch=arguments.batch,
                        learning_rate=arguments.learning_rate,
                        initialisation=arguments.initialisation,
                        loss_fusion=arguments.loss_fusion,
                    )


def complete(path: Path, runs: Iterable[Run], data: Data, networks: Path | None = None) -> None:
    """Make the runs that the file does not hold yet, and append their lines."""
    done = finished(path)
    for run in runs:
        if run.key in done:
            continue
        row = measured(run, data, networks)
        append(path, row)
        print(
            f"{run.method} ε={run.epsilon:g} {run.arm} seed {run.seed}: clean {row['clean']:.3f}, "
            f"crown-ibp {row['crown_ibp']:.3f}, crown {row['crown']:.3f}, "
            f"{row['train_seconds']:.0f} + {row['test_seconds']:.0f} s",
            flush=True,
        )


def plans(description: str) -> argparse.ArgumentParser:
    """Return the options that say which runs to make."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--networks", type=Path, help="folder to keep the trained networks in")
    parser.add_argument("--methods", default="crown-ibp,ibp,fast-lin")
    parser.add_argument("--epsilons", default="0.1,0.3")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--tests", type=int, default=300)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--initialisation", default="ibp")
    parser.add_argument("--loss-fusion", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--weights", type=float, default=1.0, help="factor on λ and γ")
    parser.add_argument("--threads", type=int, default=1)
    return parser


def main() -> None:
    """Make the runs that the file does not hold yet."""
    arguments = plans("Paired training runs on MNIST.").parse_args()
    torch.set_num_threads(arguments.threads)
    data = mnist(arguments.images, arguments.tests)
    complete(arguments.out, planned(arguments), data, arguments.networks)


if __name__ == "__main__":
    main()
