"""What a request to judge stored evidence of an input names: the network, and what was asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.data import fit_dataset, load_dataset
from models.network import Network, Normalization
from models.onnx_import import load_network
from solvers.certification.cases import case_of
from solvers.problem import Case
from worker.certification import options_of

__all__ = ["Asked", "asked_of"]


@dataclass(frozen=True)
class Asked:
    """What a certification asked about one input.

    Attributes:
        network: As its file has it, without the normalisation.
        case: Region and specification.
        normalization: That was asked for in front of the network.
    """

    network: Network
    case: Case
    normalization: Normalization | None


def asked_of(request: Mapping[str, Any]) -> Asked:
    """Return what was asked about the input that a request names.

    Args:
        request: Paths of the `network` and the `dataset`, the `settings` of the certification and
            the `index` of the input.

    Raises:
        TightropeError: Network, data set and settings do not fit each other.
    """
    options = options_of(request["settings"], device="cpu")
    network = load_network(Path(request["network"]), check=False)
    dataset = fit_dataset(load_dataset(Path(request["dataset"])), network)
    case = case_of(dataset, request["index"], options, network.output_size)
    return Asked(network, case, options.normalization)
