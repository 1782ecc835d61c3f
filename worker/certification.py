"""The engine of certifications: files and settings in, answers out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from models.data import fit_dataset, load_dataset
from models.network import Normalization
from models.onnx_import import load_network
from solvers.certification import CertifyOptions, certify_items
from solvers.comparison import measured_layers
from solvers.methods import Method
from worker.certifying import CertificationWork

__all__ = ["certify", "measure", "options_of"]


def certify(work: CertificationWork, cancelled: Callable[[], bool]) -> Iterator[Mapping[str, Any]]:
    """Yield one item per input, as reports print them, with the input beside counterexamples.

    Raises:
        TightropeError: Network, data set and settings do not fit each other.
    """
    network = load_network(work.network, name=work.network_name)
    dataset = fit_dataset(load_dataset(work.dataset, name=work.dataset_name), network)
    options = options_of(work.settings, device=work.device)
    items = certify_items(network, dataset, options, indices=work.indices, cancelled=cancelled)
    for item in items:
        answer = item.to_json()
        if item.counterexample is not None:
            answer["input"] = [float(value) for value in dataset.x[item.index].ravel()]
        yield answer


def measure(
    work: CertificationWork, cancelled: Callable[[], bool]
) -> Sequence[Mapping[str, Any]] | None:
    """Return how tight each layer is; None where `crown` does not fit into memory.

    Raises:
        TightropeError: Network, data set and settings do not fit each other.
    """
    network = load_network(work.network, name=work.network_name)
    dataset = load_dataset(work.dataset, name=work.dataset_name)
    options = options_of(work.settings, device=work.device)
    layers = measured_layers(network, dataset, options, indices=work.indices, cancelled=cancelled)
    return None if layers is None else [layer.to_json() for layer in layers]


def options_of(settings: Mapping[str, Any], *, device: str) -> CertifyOptions:
    """Return the options that a stored request stands for.

    Args:
        settings: `epsilon`, `norm`, `methods`, `timeout_seconds`, `valid_range`, `targets`,
            `normalization`, `seed`.
        device: Where to compute.
    """
    valid_range = settings["valid_range"]
    targets = settings["targets"]
    normalization = settings["normalization"]
    return CertifyOptions(
        epsilon=settings["epsilon"],
        methods=tuple(Method(name) for name in settings["methods"]),
        norm=settings["norm"],
        timeout_seconds=settings["timeout_seconds"],
        valid_range=None if valid_range is None else (valid_range[0], valid_range[1]),
        targets=None if targets is None else tuple(targets),
        device=device,
        seed=settings["seed"],
        normalization=None
        if normalization is None
        else Normalization(tuple(normalization["mean"]), tuple(normalization["std"])),
    )
