"""Good files to start from: one network per family of operators, specifications, data, bodies."""

from __future__ import annotations

import gzip
import io
import json
from functools import cache
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save

from models.data import load_dataset
from models.onnx_import import load_network
from models.runtime import OnnxRuntime
from solvers.certification import Certifier, CertifyOptions
from solvers.methods import Method
from tests.helpers.data_files import cifar_batch, idx, images, labels
from tests.helpers.networks import cnn, mlp, model, node, resnet
from tests.helpers.problems import declarations
from tests.helpers.proofs import random_layers, relu_net

__all__ = [
    "bodies",
    "checkpoints",
    "networks",
    "npz_files",
    "pictures",
    "proofs",
    "proved_network",
    "specifications",
]


def _normal(*shape: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(len(shape)).normal(size=shape).astype(np.float32)


def _recurrent() -> bytes:
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        node("LSTM", ["t", "w", "r"], ["h", "last"], hidden_size=3),
        node("Flatten", ["last"], ["y"], axis=1),
    ]
    weights = {"w": _normal(1, 12, 2), "r": _normal(1, 12, 3)}
    return model(nodes, shape=[1, 4, 2], weights=weights)


def _images() -> bytes:
    nodes = [
        node("Pad", ["x", "pads"], ["p"]),
        node("Conv", ["p", "w"], ["c"], strides=[2, 2], dilations=[1, 1], group=1),
        node("BatchNormalization", ["c", "s", "b", "b", "s"], ["n"]),
        node("Clip", ["n", "zero", "six"], ["k"]),
        node("Resize", ["k", "", "scales"], ["u"], mode="nearest"),
        node("ConvTranspose", ["u", "v"], ["d"], strides=[1, 1]),
        node("MaxPool", ["d"], ["m"], kernel_shape=[2, 2]),
        node("GlobalAveragePool", ["m"], ["g"]),
        node("Flatten", ["g"], ["f"]),
        node("Softmax", ["f"], ["y"]),
    ]
    weights = {
        "pads": np.asarray([0, 0, 1, 1, 0, 0, 1, 1]),
        "w": _normal(3, 2, 3, 3),
        "v": _normal(3, 4, 2, 2),
        "s": np.ones(3, np.float32),
        "b": np.full(3, 0.5, np.float32),
        "zero": np.zeros((), np.float32),
        "six": np.full((), 6, np.float32),
        "scales": np.asarray([1, 1, 2, 2], np.float32),
    }
    return model(nodes, shape=[1, 2, 6, 6], weights=weights)


def _attention() -> bytes:
    nodes = [
        node("MatMul", ["x", "q"], ["a"]),
        node("Transpose", ["a"], ["t"], perm=[0, 2, 1]),
        node("MatMul", ["a", "t"], ["s"]),
        node("Softmax", ["s"], ["p"], axis=-1),
        node("MatMul", ["p", "a"], ["o"]),
        node("LayerNormalization", ["o", "g", "g"], ["l"]),
        node("ReduceMean", ["l", "axes"], ["y"], keepdims=0),
    ]
    weights = {"q": _normal(4, 4), "g": _normal(4), "axes": np.asarray([1])}
    return model(nodes, shape=[1, 3, 4], weights=weights, opset=18)


def _shapes() -> bytes:
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "one"], ["n"], axis=0),
        node("Unsqueeze", ["n", "zero"], ["u"]),
        node("Concat", ["first", "u"], ["to"], axis=0),
        node("Reshape", ["x", "to"], ["r"]),
        node("Slice", ["r", "starts", "ends", "axes", "steps"], ["c"]),
        node("Range", ["i", "j", "k"], ["range"]),
        node("Cast", ["range"], ["f"], to=1),
        node("Mul", ["c", "f"], ["m"]),
        node("Split", ["m", "sizes"], ["left", "right"], axis=1),
        node("Sub", ["left", "right"], ["d"]),
        node("Sigmoid", ["d"], ["e"]),
        node("Pow", ["e", "two"], ["y"]),
    ]
    weights = {
        "one": np.asarray(1), "zero": np.asarray([0]), "first": np.asarray([1]),
        "starts": np.asarray([7]), "ends": np.asarray([-(2**31)]), "axes": np.asarray([1]),
        "steps": np.asarray([-1]), "i": np.asarray(0), "j": np.asarray(8), "k": np.asarray(1),
        "sizes": np.asarray([4, 4]), "two": np.asarray(2, np.float32),
    }  # fmt: skip
    return model(nodes, shape=[1, 8], weights=weights)


@cache
def networks() -> tuple[bytes, ...]:
    """Return small networks of every family of operators."""
    plain = (mlp(), cnn(), resnet(), _recurrent(), _images(), _attention(), _shapes())
    return (*plain, mlp(activation="Tanh", batch="n"), gzip.compress(mlp()))


@cache
def specifications() -> tuple[bytes, ...]:
    """Return VNN-LIB files: a box, alternatives, terms."""
    head = declarations(3, 2)
    box = "".join(f"(assert (>= X_{i} -1.5e-1))(assert (<= X_{i} 1))" for i in range(3))
    texts = (
        f"{head}{box}(assert (<= Y_0 Y_1))",
        f"{head}{box}(assert (or (and (<= Y_0 0) (>= Y_1 0.5)) (and (<= X_0 0) (>= Y_0 1))))",
        f'; note\n(set-logic QF_LRA)(set-info :x "y"){head}{box}'
        "(assert (< (+ (* 2 Y_0) (- (/ Y_1 4) 3)) (* 0.5 |Y_1|)))",
    )
    return (*(text.encode() for text in texts), gzip.compress(texts[0].encode()))


@cache
def npz_files() -> tuple[bytes, ...]:
    """Return data sets as npz files."""
    found = []
    for x in (
        np.linspace(0, 1, 24, dtype=np.float32).reshape(4, 6),
        np.zeros((3, 1, 2, 2), np.uint8),
    ):
        for write in (np.savez, np.savez_compressed):
            stream = io.BytesIO()
            write(
                stream, x=np.asfortranarray(x), y=np.arange(len(x)), classes=np.asarray(["a", "b"])
            )
            found.append(stream.getvalue())
    return tuple(found)


@cache
def proved_network() -> bytes:
    """Return the network that all proofs are about."""
    return relu_net(random_layers((4, 8, 6, 3), 3))


@cache
def proofs() -> tuple[bytes, ...]:
    """Return proofs by one box, by many, and by splits inside the network in a ball."""
    network = load_network(proved_network())
    x = np.random.default_rng(0).uniform(0.2, 0.8, (6, 4)).astype(np.float32)
    runtime = OnnxRuntime(network)
    labels = [int(runtime.run(one.reshape(1, 1, 4)).argmax()) for one in x]
    stream = io.BytesIO()
    np.savez(stream, x=x, y=np.asarray(labels))
    dataset = load_dataset(stream.getvalue())
    found = []
    for norm, index in (("inf", 3), ("inf", 5), ("2", 5)):
        options = CertifyOptions(
            epsilon=0.1, methods=(Method.EXACT,), norm=norm, proof_timeout_seconds=60.0
        )
        (item,) = Certifier(network, dataset, options).items([index])
        found.append(item.proof_file or b"")
    return tuple(found)


@cache
def idx_files() -> tuple[bytes, ...]:
    """Return files of images and of labels."""
    return idx(images(3)), idx(labels(3)), gzip.compress(idx(images(3)))


@cache
def cifar_files() -> tuple[bytes, ...]:
    """Return binary batches."""
    return cifar_batch(2), cifar_batch(1, seed=1)


@cache
def pictures() -> tuple[bytes, ...]:
    """Return small images."""
    found = []
    for kind in ("PNG", "JPEG", "BMP", "PPM"):
        stream = io.BytesIO()
        Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3)).save(stream, kind)
        found.append(stream.getvalue())
    return tuple(found)


@cache
def checkpoints() -> tuple[bytes, ...]:
    """Return a checkpoint of a training."""
    state = json.dumps({"format": 1, "step": 3, "sums": {"loss": 0.5}})
    return (save({"w": torch.arange(6.0).reshape(2, 3)}, metadata={"training": state}),)


@cache
def bodies() -> tuple[bytes, ...]:
    """Return requests."""
    network, dataset = f"net_{'0' * 26}", f"dat_{'0' * 26}"
    question = {"dataset_id": dataset, "epsilon": 0.03, "methods": ["ibp", "crown"], "count": 3}
    normalization = {"mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2]}
    every = (
        {"network_id": network, **question, "timeout_seconds": 60, "norm": "inf"},
        {"network_id": network, **question, "indices": [0, 2], "normalization": normalization},
        {"network_ids": [network, network], **question, "valid_range": [0, 1], "targets": [1]},
        {"architecture": "mlp:8", "dataset_id": dataset, "epsilon": 0.05, "epochs": 2},
    )
    return tuple(json.dumps(body).encode() for body in every)
