"""Networks: ONNX in and out, the graph, its operators, its parameters, and data sets.

Errors are imported at once; everything else when it is first asked for, because a process that
only handles errors, such as the REST service, must not load torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from models.errors import (
    BoundsError,
    DataError,
    InvalidInputError,
    ModelImportError,
    ShapeError,
    SpecificationError,
    TightropeError,
    UnsupportedOperatorError,
)

if TYPE_CHECKING:
    from models.data import (
        DataLimits,
        Dataset,
        SplitOptions,
        Splits,
        fit_dataset,
        load_dataset,
        load_source,
        split_dataset,
    )
    from models.export import write_network
    from models.fold import fold_affine
    from models.graph import Graph, Node
    from models.network import Network, Normalization
    from models.onnx_file.limits import ImportLimits
    from models.onnx_import import load_network
    from models.parameters import ParameterRef, Parameters
    from models.runtime import OnnxRuntime

__all__ = [
    "BoundsError",
    "DataError",
    "DataLimits",
    "Dataset",
    "Graph",
    "ImportLimits",
    "InvalidInputError",
    "ModelImportError",
    "Network",
    "Node",
    "Normalization",
    "OnnxRuntime",
    "ParameterRef",
    "Parameters",
    "ShapeError",
    "SpecificationError",
    "SplitOptions",
    "Splits",
    "TightropeError",
    "UnsupportedOperatorError",
    "fit_dataset",
    "fold_affine",
    "load_dataset",
    "load_network",
    "load_source",
    "split_dataset",
    "write_network",
]

_HOMES = {
    "DataLimits": "models.data",
    "Dataset": "models.data",
    "Graph": "models.graph",
    "ImportLimits": "models.onnx_file.limits",
    "Network": "models.network",
    "Node": "models.graph",
    "Normalization": "models.network",
    "OnnxRuntime": "models.runtime",
    "ParameterRef": "models.parameters",
    "Parameters": "models.parameters",
    "SplitOptions": "models.data",
    "Splits": "models.data",
    "fit_dataset": "models.data",
    "fold_affine": "models.fold",
    "load_dataset": "models.data",
    "load_network": "models.onnx_import",
    "load_source": "models.data",
    "split_dataset": "models.data",
    "write_network": "models.export",
}


def __getattr__(name: str) -> object:
    """Import a public name from the module that defines it."""
    if name not in _HOMES:
        raise AttributeError(f"module 'models' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
