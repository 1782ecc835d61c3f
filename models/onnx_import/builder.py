"""The graph under construction: nodes, parameters and notes collected while importing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.errors import ModelImportError
from models.graph import Graph, Node
from models.onnx_file.limits import ImportLimits
from models.onnx_file.reader import GraphInput
from models.onnx_import.values import Activation, Known
from models.operators import Input, Operator, Reshape
from models.parameters import ParameterRef, ParameterStep

__all__ = ["Builder"]


@dataclass
class Builder:
    """Nodes, parameters and notes collected while the ONNX nodes are walked.

    Attributes:
        entry: The network's input.
        limits: What is refused.
        reserved: Names of all ONNX tensors; no other node gets one of them.
        nodes: Canonical nodes so far, in topological order.
        stored: Arrays of the parameters so far, by name.
        trainable: Names of those that are tensors of the file.
        generated: Names of those that the import made up; their type carries no meaning.
        frozen: Names of tensors of the file whose numbers the import itself used.
        notes: What a reader of results should know.
    """

    entry: GraphInput
    limits: ImportLimits
    reserved: set[str]
    nodes: list[Node] = field(default_factory=list)
    stored: dict[str, NDArray[Any]] = field(default_factory=dict)
    trainable: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    generated: set[str] = field(default_factory=set)
    frozen: set[str] = field(default_factory=set)
    _file: dict[str, NDArray[Any]] = field(default_factory=dict)
    _values: int = 0
    _folded: int = 0
    _meta: dict[str, Tensor] = field(default_factory=dict)
    _shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.check_size(self.entry.name, self.entry.shape)
        self._values = prod(self.entry.shape)
        self.nodes.append(Node(self.entry.name, Input(), (), self.entry.shape))
        self._shapes[self.entry.name] = self.entry.shape

    @property
    def input(self) -> Activation:
        """The network's input."""
        return Activation(self.entry.name, self.entry.shape, self.entry.dtype)

    def node(self, name: str) -> Node:
        """Return the node of that name; the newest are looked at first."""
        return next(node for node in reversed(self.nodes) if node.name == name)

    def note(self, text: str) -> None:
        """Keep a remark, once."""
        if text not in self.notes:
            self.notes.append(text)

    def file_tensor(self, name: str, array: NDArray[Any]) -> Known:
        """Return a tensor of the file as a constant that can be traced to it.

        A floating-point one becomes a trainable parameter when an operator first reads it.
        """
        if not np.issubdtype(array.dtype, np.floating):
            return Known(name, array)
        self._file[name] = array
        return Known(name, array, ParameterRef(name), frozenset({name}))

    def freeze(self, value: Known) -> None:
        """Keep tensors from being trained because the import used their numbers.

        Were they to change, what was computed from them would no longer match the file.
        """
        self.frozen |= value.origins

    def parameter(self, value: Known, *steps: ParameterStep) -> ParameterRef:
        """Register a constant as a parameter and return a reference to it.

        A view of a tensor of the file refers to that tensor; any other constant becomes a
        parameter of its own, under its ONNX name, that is not trainable.

        Raises:
            ModelImportError: A value is NaN or infinite, or not a floating-point number.
        """
        reference = value.reference
        if reference is None:
            reference = ParameterRef(value.name)
            self._store(value.name, value.array)
            self.freeze(value)
        else:
            self._store(reference.name, self._file[reference.name])
            self.trainable.add(reference.name)
        for step in steps:
            reference = reference.then(step)
        return reference

    def constant(self, name: str, array: NDArray[Any]) -> ParameterRef:
        """Register a constant that the file does not hold and return a reference to it."""
        chosen = self._unique(f"{name}/constant")
        self._store(chosen, array)
        self.generated.add(chosen)
        return ParameterRef(chosen)

    def emit(
        self, name: str, operator: Operator, inputs: Sequence[str], *, dtype: np.dtype[Any]
    ) -> Activation:
        """Append a node; its shape comes from running the operator on shapes alone.

        Raises:
            ModelImportError: The result is empty or too large.
            RuntimeError: The shapes do not fit the operator.
        """
        shaped = [torch.empty((1, *self._shapes[source]), device="meta") for source in inputs]
        shape = tuple(operator.forward(shaped, self._meta).shape[1:])
        self.check_size(name, shape)
        self._values += prod(shape)
        node = Node(self._unique(name), operator, tuple(inputs), shape)
        self.nodes.append(node)
        self._shapes[node.name] = shape
        return Activation(node.name, shape, dtype)

    def check_size(self, name: str, shape: tuple[int, ...]) -> None:
        """Refuse an activation that would go beyond the limits, before it is described.

        Raises:
            ModelImportError: It would be empty or too large.
        """
        if prod(shape) <= 0:
            raise ModelImportError(f"tensor {name!r} has shape {shape}: it holds no numbers")
        if len(shape) > self.limits.rank:
            raise ModelImportError(
                f"tensor {name!r} has {len(shape)} axes, the limit is {self.limits.rank}"
            )
        if self._values + prod(shape) > self.limits.activations:
            raise ModelImportError(
                f"tensor {name!r} of shape {shape} takes the network beyond the limit of "
                f"{self.limits.activations} activations"
            )

    def count_folded(self, name: str, elements: int) -> None:
        """Count a constant that the import computes.

        Raises:
            ModelImportError: All of them together go beyond the limit.
        """
        self._folded += elements
        if self._folded > self.limits.elements:
            raise ModelImportError(
                f"node {name!r} computes a constant of {elements} elements; all such constants "
                f"together may have {self.limits.elements}"
            )

    def rename_from(self, mark: int, names: Mapping[str, str]) -> None:
        """Rename nodes that stand at or behind position `mark`."""
        for position in range(mark, len(self.nodes)):
            node = self.nodes[position]
            self.nodes[position] = replace(
                node,
                name=names.get(node.name, node.name),
                inputs=tuple(names.get(source, source) for source in node.inputs),
            )
        for old, new in names.items():
            self._shapes[new] = self._shapes.pop(old)

    def graph(self, output: str) -> Graph:
        """Return the finished graph, without the nodes that the output does not depend on.

        A single output without an axis gets one, which everything that reads outputs counts on.
        """
        if self._shapes[output] == ():
            axis = Node(f"{output}/axis", Reshape((1,)), (output,), (1,))
            self.nodes.append(axis)
            output = axis.name
        graph = Graph(tuple(self.nodes), output)
        needed = graph.ancestors(output)
        if graph.input not in needed:
            raise ModelImportError("the network's output does not depend on its input")
        return Graph(needed, output)

    def _store(self, name: str, array: NDArray[Any]) -> None:
        if name in self.stored:
            return
        if not np.issubdtype(array.dtype, np.floating):
            raise ModelImportError(
                f"tensor {name!r} has type {array.dtype}; weights must be floating-point numbers"
            )
        if not np.isfinite(array).all():
            raise ModelImportError(
                f"tensor {name!r} holds NaN or infinite values; repair or retrain the network"
            )
        self.stored[name] = array
        self._meta[name] = torch.empty(array.shape, device="meta")

    def _unique(self, name: str) -> str:
        chosen, count = name, 1
        while chosen in self.reserved or chosen in self._shapes or chosen in self.stored:
            count += 1
            chosen = f"{name}/{count}"
        return chosen
