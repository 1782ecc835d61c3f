"""Networks side by side: the same inputs, the same question, and how tight their bounds are."""

from solvers.comparison.compare import Arm, Comparison, compare_networks, measured_layers
from solvers.comparison.tightness import LayerTightness, layer_tightness

__all__ = [
    "Arm",
    "Comparison",
    "LayerTightness",
    "compare_networks",
    "layer_tightness",
    "measured_layers",
]
