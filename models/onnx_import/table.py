"""Which handler imports which ONNX operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from models.onnx_import import (
    activations,
    arithmetic,
    convolution,
    linear,
    pooling,
    reduction,
    resize,
    structural,
)
from models.onnx_import.call import Call
from models.onnx_import.values import Value

__all__ = ["HANDLERS", "Handler"]

Handler = Callable[[Call], Sequence[Value]]

HANDLERS: Mapping[str, Handler] = {
    "Add": arithmetic.add,
    "AveragePool": pooling.average_pool,
    "BatchNormalization": convolution.batch_normalization,
    "Cast": arithmetic.cast,
    "Clip": activations.clip,
    "Concat": structural.concat,
    "Conv": convolution.convolution,
    "ConvTranspose": convolution.convolution_transpose,
    "Div": arithmetic.divide,
    "Dropout": arithmetic.identity,
    "Expand": arithmetic.expand,
    "Flatten": structural.reshape,
    "Gather": structural.gather,
    "Gemm": linear.gemm,
    "GlobalAveragePool": pooling.global_average_pool,
    "GlobalMaxPool": pooling.global_max_pool,
    "Identity": arithmetic.identity,
    "LeakyRelu": activations.leaky_relu,
    "MatMul": linear.matmul,
    "Max": activations.maximum,
    "MaxPool": pooling.max_pool,
    "Mean": arithmetic.mean,
    "Min": activations.minimum,
    "Mul": arithmetic.multiply,
    "Neg": arithmetic.negate,
    "PRelu": activations.prelu,
    "Pad": structural.pad,
    "ReduceMean": reduction.reduce_mean,
    "ReduceSum": reduction.reduce_sum,
    "Relu": activations.relu,
    "Reshape": structural.reshape,
    "Resize": resize.resize,
    "Shape": structural.shape,
    "Sigmoid": activations.sigmoid,
    "Size": structural.size,
    "Slice": structural.slice_,
    "Split": structural.split,
    "Squeeze": structural.reshape,
    "Sub": arithmetic.subtract,
    "Sum": arithmetic.add,
    "Tanh": activations.tanh,
    "Transpose": structural.transpose,
    "Unsqueeze": structural.reshape,
    "Upsample": resize.upsample,
}
"""One handler per ONNX operator; Softmax and LogSoftmax are dealt with at the output alone."""
