"""ONNX import: from a file to the graph of canonical operators."""

from __future__ import annotations

from pathlib import Path

from models.network import Network
from models.onnx_file.limits import ImportLimits
from models.onnx_file.reader import in_half_precision, parse_model, read_source
from models.onnx_import.comparison import compare_with_onnxruntime
from models.onnx_import.importer import import_model

__all__ = ["ImportLimits", "load_network"]


def load_network(
    source: Path | str | bytes,
    *,
    name: str | None = None,
    check: bool = True,
    limits: ImportLimits | None = None,
) -> Network:
    """Read an ONNX file (opset 7 to current).

    Constants are folded, open axes of the input count as 1, a final Softmax is dropped with a
    note, and weights stay parameters under their ONNX names.

    Args:
        source: A path, or the bytes of the file; gzip is unpacked.
        name: For people; by default the file's name without its suffix.
        check: Compare with onnxruntime on a few random inputs.
        limits: On sizes, for files from strangers.

    Returns:
        The network, in float64 where the file is, else in float32.

    Raises:
        ModelImportError: The file cannot be read, or does not compute what onnxruntime computes.
        UnsupportedOperatorError: A node, or an attribute of one, is not supported.
    """
    limits = limits or ImportLimits()
    data = read_source(source, limits)
    if name is None:
        name = "network" if isinstance(source, bytes) else Path(source).name.split(".onnx")[0]
    model = parse_model(data, limits)
    half = in_half_precision(model.graph)
    network = import_model(model, data, name=name, limits=limits)
    del model  # as large as the file; the comparison needs the room
    if check:
        compare_with_onnxruntime(network, half=half)
    return network
