"""Branch and bound over the values inside a network."""

from solvers.search.neurons.options import NeuronSearchOptions
from solvers.search.neurons.recording import Leaf, LeafRecorder, Split
from solvers.search.neurons.search import search_neurons

__all__ = ["Leaf", "LeafRecorder", "NeuronSearchOptions", "Split", "search_neurons"]
