"""Networks by name: the architectures of certified training, with weights drawn from a seed."""

from models.architectures.build import build_architecture
from models.architectures.layers import Architecture, Convolve, Dense
from models.architectures.table import ARCHITECTURES, architecture
from models.architectures.weights import Initialisation

__all__ = [
    "ARCHITECTURES",
    "Architecture",
    "Convolve",
    "Dense",
    "Initialisation",
    "architecture",
    "build_architecture",
]
