"""The engine of certifications: files and settings in, answers out."""

from __future__ import annotations

import json
from base64 import b64encode
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch

from models.data import load_dataset
from models.network import Normalization
from models.onnx_import import load_network
from solvers.certification import Certifier, CertifyOptions
from solvers.comparison import measured_layers
from solvers.methods import Method
from worker.work import CertificationWork

__all__ = ["WarmCertifiers", "certify", "measure", "options_of"]


_KEPT = 2
"""Certifiers that stay loaded: both networks of a comparison, or two jobs that take turns."""


class WarmCertifiers:
    """Certifies, and keeps what it has loaded for the next chunk of the same job.

    Args:
        kept: How many networks with their data stay loaded.
    """

    def __init__(self, kept: int = _KEPT) -> None:
        self._kept = kept
        self._loaded: OrderedDict[str, Certifier] = OrderedDict()

    def __call__(
        self, work: CertificationWork, cancelled: Callable[[], bool]
    ) -> Iterator[Mapping[str, Any]]:
        """Yield one item per input, as reports print them.

        The input stands beside a counterexample, and a proof in base64 beside what it proves.

        Raises:
            TightropeError: Network, data set and settings do not fit each other.
        """
        if work.threads is not None and work.threads != torch.get_num_threads():
            torch.set_num_threads(work.threads)
        certifier = self._certifier(work)
        for item in certifier.items(work.indices, cancelled=cancelled):
            answer = item.to_json()
            if item.counterexample is not None:
                raw = certifier.dataset.x[item.index]
                answer["input"] = [float(value) for value in raw.ravel()]
            if item.proof_file is not None:
                answer["proof_file"] = b64encode(item.proof_file).decode()
            yield answer

    def _certifier(self, work: CertificationWork) -> Certifier:
        """Return what certifies, loaded now or before; files are named by their content."""
        settings = {name: value for name, value in work.settings.items() if name != "indices"}
        names = [work.network_name, work.dataset_name]
        key = json.dumps([str(work.network), str(work.dataset), *names, settings, work.device])
        certifier = self._loaded.pop(key, None)
        if certifier is None:
            while len(self._loaded) >= self._kept:
                self._loaded.popitem(last=False)  # before another takes memory
            certifier = _load(work)
        self._loaded[key] = certifier
        return certifier


def certify(work: CertificationWork, cancelled: Callable[[], bool]) -> Iterator[Mapping[str, Any]]:
    """Certify once, and keep nothing; see `WarmCertifiers`."""
    return WarmCertifiers(kept=1)(work, cancelled)


def _load(work: CertificationWork) -> Certifier:
    network = load_network(work.network, name=work.network_name)
    dataset = load_dataset(work.dataset, name=work.dataset_name)
    return Certifier(network, dataset, options_of(work.settings, device=work.device))


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
            `normalization`, `seed`, and `proof_timeout_seconds` where proofs are wanted.
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
        proof_timeout_seconds=settings.get("proof_timeout_seconds"),
        normalization=None
        if normalization is None
        else Normalization(tuple(normalization["mean"]), tuple(normalization["std"])),
    )
