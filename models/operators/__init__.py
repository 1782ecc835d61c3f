"""The canonical operators that every import is reduced to."""

from models.operators.activations import Clip, LeakyRelu, PRelu, Relu, Sigmoid, Tanh
from models.operators.affine import (
    Add,
    BatchNormalization,
    Convolution,
    ConvolutionTranspose,
    Linear,
    Scale,
)
from models.operators.base import Operator
from models.operators.bilinear import MatrixProduct, Multiply
from models.operators.pooling import MaxPool
from models.operators.softmax import Softmax
from models.operators.structural import (
    AveragePool,
    Concat,
    Constant,
    Expand,
    Input,
    Pad,
    ReduceSum,
    Reshape,
    Take,
    Transpose,
)

__all__ = [
    "Add",
    "AveragePool",
    "BatchNormalization",
    "Clip",
    "Concat",
    "Constant",
    "Convolution",
    "ConvolutionTranspose",
    "Expand",
    "Input",
    "LeakyRelu",
    "Linear",
    "MatrixProduct",
    "MaxPool",
    "Multiply",
    "Operator",
    "PRelu",
    "Pad",
    "ReduceSum",
    "Relu",
    "Reshape",
    "Scale",
    "Sigmoid",
    "Softmax",
    "Take",
    "Tanh",
    "Transpose",
]
