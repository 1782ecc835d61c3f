"""What a certification asks about one input."""

from __future__ import annotations

from models.data import Dataset
from solvers.balls import Norm
from solvers.certification.options import CertifyOptions
from solvers.problem import Case, norm_ball, robustness

__all__ = ["case_of"]


def case_of(dataset: Dataset, index: int, options: CertifyOptions, outputs: int) -> Case:
    """Return the region around an input, and that its label has to stay the largest output.

    Args:
        dataset: Fitted to the network.
        index: Of the input.
        options: Of the certification.
        outputs: That the network has.
    """
    label = int(dataset.y[index])
    targets = options.targets
    if targets is not None:
        targets = tuple(target for target in targets if target != label)
    x = dataset.x[index]
    region = norm_ball(x, options.epsilon, Norm(options.norm), valid_range=options.valid_range)
    return Case(region, robustness(label, outputs, targets))
