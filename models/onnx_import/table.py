"""Which handler imports which ONNX operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from models.onnx_import import (
    activations,
    arithmetic,
    convolution,
    extremes,
    linear,
    normalization,
    pooling,
    recurrent,
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
    "GRU": recurrent.gru,
    "Gather": structural.gather,
    "Gemm": linear.gemm,
    "GlobalAveragePool": pooling.global_average_pool,
    "GlobalMaxPool": pooling.global_max_pool,
    "Identity": arithmetic.identity,
    "InstanceNormalization": normalization.instance_normalization,
    "LSTM": recurrent.lstm,
    "LayerNormalization": normalization.layer_normalization,
    "LeakyRelu": activations.leaky_relu,
    "LogSoftmax": normalization.log_softmax,
    "MatMul": linear.matmul,
    "Max": extremes.maximum,
    "MaxPool": pooling.max_pool,
    "Mean": arithmetic.mean,
    "Min": extremes.minimum,
    "Mul": arithmetic.multiply,
    "Neg": arithmetic.negate,
    "PRelu": activations.prelu,
    "Pad": structural.pad,
    "RNN": recurrent.rnn,
    "ReduceMax": extremes.reduce_max,
    "ReduceMean": reduction.reduce_mean,
    "ReduceMin": extremes.reduce_min,
    "ReduceSum": reduction.reduce_sum,
    "Relu": activations.relu,
    "Reshape": structural.reshape,
    "Resize": resize.resize,
    "Shape": structural.shape,
    "Sigmoid": activations.sigmoid,
    "Size": structural.size,
    "Slice": structural.slice_,
    "Softmax": normalization.softmax,
    "Split": structural.split,
    "Squeeze": structural.reshape,
    "Sub": arithmetic.subtract,
    "Sum": arithmetic.add,
    "Tanh": activations.tanh,
    "Transpose": structural.transpose,
    "Unsqueeze": structural.reshape,
    "Upsample": resize.upsample,
}
"""One handler per ONNX operator; Softmax and LogSoftmax are dropped at the output."""
