"""Run a network in onnxruntime, the runtime that is independent of everything else here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from models.errors import ModelImportError, ShapeError
from models.export import current_source
from models.network import Network
from models.onnx_file.reader import graph_inputs
from models.onnx_file.session import open_session, run_session
from models.onnx_file.tail import find_tail, needed_nodes

__all__ = ["OnnxRuntime"]

_CHUNK = 64
"""Inputs in one run; more would save little time and hold many activations."""
_SEED = 20240229


class OnnxRuntime:
    """The original ONNX graph of a network in onnxruntime, on one thread of the CPU.

    A final Softmax that the import dropped is cut off here as well, so that both give logits.
    Parameters that changed since the import are written into the graph first.

    Args:
        network: One that came from a file.

    Raises:
        ModelImportError: The network has no ONNX file, or onnxruntime refuses it.
    """

    def __init__(self, network: Network) -> None:
        data = current_source(network)
        model = onnx.load_model_from_string(data)
        entries = graph_inputs(model.graph)
        tail = find_tail(model.graph)
        needed = needed_nodes(model.graph, tail.output)
        if tail.dropped or tail.ignored or len(needed) < len(model.graph.node):
            # What the result does not need was not looked at by the import, so it is not run.
            data = _cut_to(model, tail.output, needed)
        del model
        self._entries = entries
        self._dtype = np.result_type(*(entry.dtype for entry in entries))
        self._output = tail.output
        self._session = open_session(data)
        self._batched: bool | None = None
        if len(entries) > 1 or 0 not in entries[0].symbolic:
            self._batched = False
        self._normalization = network.normalization
        self.input_shape = network.input_shape

    def run(self, x: NDArray[np.float32]) -> NDArray[Any]:
        """Run raw inputs.

        Args:
            x: Shape `(batch, *input_shape)`, float32.

        Returns:
            Outputs in row-major order, shape `(batch, outputs)`: float32, or float64 where the
            file computes in float64.

        Raises:
            ShapeError: `x` has another shape.
            ModelImportError: onnxruntime fails on it.
        """
        if tuple(x.shape[1:]) != self.input_shape:
            raise ShapeError(
                f"inputs have shape {tuple(x.shape[1:])}, the network takes {self.input_shape}"
            )
        raw = np.asarray(x, dtype=np.float32)
        if self._normalization is not None:
            mean, std = self._normalization.broadcast(self.input_shape)
            raw = (raw - mean) / std
        ready = raw.astype(self._dtype, copy=False)
        if len(ready) == 0:
            return self._run_once(np.zeros_like(ready, shape=self.input_shape)).reshape(1, -1)[:0]
        if len(ready) > 1 and self._may_batch():
            parts = [ready[start : start + _CHUNK] for start in range(0, len(ready), _CHUNK)]
            return np.concatenate([self._run_joint(part) for part in parts])
        return np.concatenate([self._run_once(row).reshape(1, -1) for row in ready])

    def _run_once(self, x: NDArray[Any]) -> NDArray[Any]:
        (y,) = run_session(self._session, [self._output], self._feed(x))
        found = np.asarray(y)
        return found.astype(np.float32) if found.dtype == np.float16 else found

    def _feed(self, x: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Return what onnxruntime is given: one input, or the parts of a flat one."""
        if len(self._entries) == 1:
            return {self._entries[0].name: x}
        ends = np.cumsum([entry.size for entry in self._entries])
        parts = zip(self._entries, np.split(x, ends[:-1]), strict=True)
        return {
            entry.name: part.reshape(entry.shape).astype(entry.dtype, copy=False)
            for entry, part in parts
        }

    def _run_joint(self, x: NDArray[Any]) -> NDArray[Any]:
        """Run several inputs at once, along the open batch axis."""
        return self._run_once(x.reshape(-1, *self.input_shape[1:])).reshape(len(x), -1)

    def _may_batch(self) -> bool:
        """Tell whether a batch gives what its inputs give one by one; found out once.

        An open batch axis is a promise that not every file keeps: a reshape with a fixed size
        fails, or mixes inputs. Two random inputs show it, because they differ everywhere.
        """
        if self._batched is None:
            generator = np.random.default_rng(_SEED)
            pair = generator.normal(size=(2, *self.input_shape)).astype(self._dtype)
            single = np.concatenate([self._run_once(row).reshape(1, -1) for row in pair])
            try:
                joint = self._run_joint(pair)
            except (ModelImportError, ValueError):
                self._batched = False
            else:
                scale = 1e-4 * (1.0 + float(np.abs(single).max()))
                self._batched = joint.shape == single.shape and bool(
                    np.abs(joint - single).max() <= scale
                )
        return self._batched


def _cut_to(model: onnx.ModelProto, output: str, needed: Sequence[onnx.NodeProto]) -> bytes:
    """Return the model with that tensor as its only output, and these nodes alone."""
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in needed]
    del model.graph.node[:]
    model.graph.node.extend(kept)
    del model.graph.output[:]
    model.graph.output.append(onnx.helper.make_empty_tensor_value_info(output))
    return bytes(model.SerializeToString())
