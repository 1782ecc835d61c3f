"""Ways to damage a file: by bytes, by words, and by the structure that its format has."""

from __future__ import annotations

import io
import json
import random
import warnings
import zipfile
import zlib
from collections.abc import Callable, Sequence
from typing import Any

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto

__all__ = [
    "damage_bytes",
    "damage_json",
    "damage_npz",
    "damage_onnx",
    "damage_proof",
    "damage_text",
]

_NUMBERS = (0, 1, -1, 2, 7, 127, 128, 255, 256, 32767, 65536, 2**31 - 1, -(2**31), 2**32, 2**40,
            2**62, 2**63 - 1, -(2**63))  # fmt: skip
_FLOATS = (0.0, -0.0, 1e-45, 1e38, float("inf"), float("-inf"), float("nan"), -1.5)
_MOST_STEPS = 4


def damage_bytes(chance: random.Random, data: bytes) -> bytes:
    """Flip, cut, repeat, insert or overwrite a few bytes."""
    content = bytearray(data)
    for _ in range(chance.randint(1, _MOST_STEPS)):
        start = chance.randrange(len(content) + 1)
        length = min(len(content) - start, chance.choice((1, 2, 4, 8, 64, 1024)))
        match chance.randrange(6):
            case 0 if length:
                content[start] ^= 1 << chance.randrange(8)
            case 1:
                del content[start : start + length]
            case 2:
                content[start:start] = content[start : start + length] * chance.choice((1, 2, 50))
            case 3:
                content[start:start] = chance.randbytes(chance.choice((1, 4, 16)))
            case 4:
                size = chance.choice((1, 2, 4, 8))
                number = chance.choice(_NUMBERS) % 256**size
                order = chance.choice(("little", "big"))
                content[start : start + size] = number.to_bytes(size, order)  # type: ignore[arg-type]
            case _:
                del content[start:]
    return bytes(content)


def damage_text(words: Sequence[str]) -> Callable[[random.Random, bytes], bytes]:
    """Return a function that damages text by words of its language, and sometimes by bytes."""

    def damage(chance: random.Random, data: bytes) -> bytes:
        if chance.random() < 0.2:
            return damage_bytes(chance, data)
        tokens = data.decode("utf-8", "replace").replace("(", " ( ").replace(")", " ) ").split(" ")
        for _ in range(chance.randint(1, _MOST_STEPS)):
            start = chance.randrange(len(tokens) + 1)
            length = chance.choice((1, 1, 2, 5, 20))
            match chance.randrange(5):
                case 0:
                    tokens[start : start + 1] = [chance.choice(words)]
                case 1:
                    tokens[start:start] = [chance.choice(words)] * chance.choice((1, 1, 2, 200))
                case 2:
                    del tokens[start : start + length]
                case 3:
                    tokens[start:start] = tokens[start : start + length] * chance.choice((1, 3, 30))
                case _:
                    other = chance.randrange(len(tokens) + 1)
                    tokens[start:start] = tokens[other : other + length]
        return " ".join(tokens).encode("utf-8", "replace")

    return damage


_HEADERS = (
    "{'descr': '<f4', 'fortran_order': False, 'shape': (%s), }",
    "{'descr': '%s', 'fortran_order': True, 'shape': (2, 3), }",
    "{'descr': [('a', '<f4', (%s))], 'fortran_order': False, 'shape': (2,), }",
    "{'shape': (%s), 'descr': '|u1', 'fortran_order': %s}",
    "%s",
)
_FILLS = (
    "1,", "2**9", "-1, 4", "0,", "9" * 400, "1" + ", 1" * 70, "True, 2", "'<U9'", "|O", "<M8[s]",
    "|V0", "|S2147483648", "((((", "-" * 3000 + "1", "None", "2, 2L", "1099511627776, 0",
    "[" * 90, "\\x00", "<f16", "1.5,",
)  # fmt: skip


def damage_npz(chance: random.Random, data: bytes) -> bytes:
    """Damage the members of an archive before it is packed again, or the archive itself."""
    if chance.random() < 0.4:
        return damage_bytes(chance, data)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(entry.filename, archive.read(entry)) for entry in archive.infolist()]
    stream = io.BytesIO()
    method = chance.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2))
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w", method) as archive:
        warnings.simplefilter("ignore")  # of names that come twice
        for name, content in members:
            changed = content
            match chance.randrange(5):
                case 0:
                    changed = damage_bytes(chance, content)
                case 1:
                    changed = _headed(chance, content)
                case 2:
                    changed = content[:10] + damage_bytes(chance, content[10:128]) + content[128:]
                case 3 if chance.random() < 0.2:
                    archive.writestr(chance.choice((name, "../../x.npy", "z" * 3000)), content)
            archive.writestr(name, changed)
    packed = stream.getvalue()
    return damage_bytes(chance, packed) if chance.random() < 0.2 else packed


def damage_proof(chance: random.Random, data: bytes) -> bytes:
    """Change what the manifest of a proof says, or damage it as any archive of arrays."""
    if chance.random() < 0.6:
        return damage_npz(chance, data)
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(stream, "w") as changed:
        for entry in archive.infolist():
            content = archive.read(entry)
            told = entry.filename.endswith(".json")
            changed.writestr(entry.filename, damage_json(chance, content) if told else content)
    return stream.getvalue()


def _headed(chance: random.Random, content: bytes) -> bytes:
    """Return an array file with another header."""
    shape = chance.choice(_HEADERS)
    text = shape % tuple(chance.choice(_FILLS) for _ in range(shape.count("%s")))
    header = text.encode() + b"\n"
    version = chance.choice((1, 2, 3, 0, 9))
    size = len(header).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes((version, 0)) + size + header + content[128:]


def damage_onnx(chance: random.Random, data: bytes) -> bytes:
    """Change a few things about the graph, or bytes of the file."""
    if data.startswith(b"\x1f\x8b") or chance.random() < 0.25:
        return damage_bytes(chance, data)
    model = ModelProto.FromString(data)
    for _ in range(chance.randint(1, _MOST_STEPS)):
        chance.choice(_GRAPH_CHANGES)(chance, model.graph)
    if chance.random() < 0.05:
        model.opset_import[0].version = chance.choice((1, 6, 7, 9, 11, 13, 18, 21, 24, 99, -3))
    return bytes(model.SerializeToString())


_OPERATOR_NAMES = (
    "Add Mul Sub Div MatMul Gemm Conv ConvTranspose Relu LeakyRelu Clip MaxPool AveragePool "
    "Reshape Transpose Concat Slice Gather Pad Flatten Softmax ArgMax ReduceSum ReduceMean Squeeze "
    "Unsqueeze Split Constant ConstantOfShape Expand Tile Cast Identity Dropout Sigmoid Tanh LSTM "
    "BatchNormalization GRU RNN Resize Upsample GlobalAveragePool Pow Sqrt Exp Where Sign Max Min "
    "Shape Range Einsum LayerNormalization InstanceNormalization DepthToSpace Trilu Neg Sin Erf If "
    "Loop Scan CumSum"
)
_OPERATORS = _OPERATOR_NAMES.split()


_ATTRIBUTE_NAMES = (
    "axis axes pads strides kernel_shape group dilations perm alpha transB to value keepdims "
    "ceil_mode shape split epsilon mode hidden_size direction"
)


def _any_node(chance: random.Random, graph: GraphProto) -> NodeProto:
    return chance.choice(graph.node) if graph.node else graph.node.add()


def _change_operator(chance: random.Random, graph: GraphProto) -> None:
    _any_node(chance, graph).op_type = chance.choice(_OPERATORS)


def _change_wire(chance: random.Random, graph: GraphProto) -> None:
    names = [name for node in graph.node for name in (*node.input, *node.output)]
    names += [tensor.name for tensor in graph.initializer] + ["", "nowhere", "x"]
    node = _any_node(chance, graph)
    wires = chance.choice((node.input, node.output))
    match chance.randrange(3):
        case 0 if wires:
            wires[chance.randrange(len(wires))] = chance.choice(names)
        case 1 if wires:
            del wires[chance.randrange(len(wires))]
        case _:
            wires.append(chance.choice(names))


def _change_nodes(chance: random.Random, graph: GraphProto) -> None:
    match chance.randrange(3):
        case 0:
            graph.node.append(_any_node(chance, graph))
        case 1 if graph.node:
            del graph.node[chance.randrange(len(graph.node))]
        case _:
            made = graph.node.add(op_type=chance.choice(_OPERATORS), name="made")
            made.input.extend([graph.input[0].name] if graph.input else [])
            made.output.append(chance.choice(["made", *(entry.name for entry in graph.output)]))


def _change_attribute(chance: random.Random, graph: GraphProto) -> None:
    node = _any_node(chance, graph)
    if not node.attribute or chance.random() < 0.3:
        name = chance.choice(_ATTRIBUTE_NAMES.split())
        node.attribute.add(name=name)
    entry = chance.choice(node.attribute)
    entry.type = chance.choice(
        (AttributeProto.INT, AttributeProto.INTS, AttributeProto.FLOAT, AttributeProto.STRING,
         AttributeProto.TENSOR, entry.type, entry.type)
    )  # fmt: skip
    entry.i = chance.choice(_NUMBERS)
    entry.f = chance.choice(_FLOATS)
    entry.s = chance.choice((b"", b"SAME_UPPER", b"VALID", b"\xff\xfe", b"linear"))
    if entry.ints and chance.random() < 0.7:
        entry.ints[chance.randrange(len(entry.ints))] = chance.choice(_NUMBERS)
    else:
        entry.ints.extend(chance.choice(_NUMBERS) for _ in range(chance.randint(0, 3)))
    _damage_tensor(chance, entry.t)


def _change_tensor(chance: random.Random, graph: GraphProto) -> None:
    if graph.initializer:
        _damage_tensor(chance, chance.choice(graph.initializer))


def _damage_tensor(chance: random.Random, tensor: TensorProto) -> None:
    match chance.randrange(7):
        case 0 if tensor.dims:
            tensor.dims[chance.randrange(len(tensor.dims))] = chance.choice(_NUMBERS)
        case 1:
            tensor.dims.append(chance.choice((0, 1, 2, -1, 2**40)))
        case 2:
            tensor.data_type = chance.randrange(24)
        case 3:
            tensor.raw_data = damage_bytes(chance, tensor.raw_data)
        case 4:
            tensor.float_data.append(chance.choice(_FLOATS))
        case 5:
            tensor.external_data.add(key="location", value="../../etc/passwd")
            tensor.data_location = chance.choice((0, 1))
        case _:
            del tensor.dims[:]


def _change_ends(chance: random.Random, graph: GraphProto) -> None:
    ends = chance.choice((graph.input, graph.output))
    if not ends:
        return
    kind = chance.choice(ends).type.tensor_type
    match chance.randrange(4):
        case 0:
            kind.elem_type = chance.randrange(20)
        case 1 if kind.shape.dim:
            kind.shape.dim[chance.randrange(len(kind.shape.dim))].dim_value = chance.choice(
                _NUMBERS
            )
        case 2 if kind.shape.dim:
            kind.shape.dim[chance.randrange(len(kind.shape.dim))].dim_param = "batch"
        case _:
            kind.shape.dim.add(dim_value=chance.choice((0, 1, 3)))


_GRAPH_CHANGES: Sequence[Callable[[random.Random, GraphProto], None]] = (
    _change_operator,
    _change_wire,
    _change_nodes,
    _change_attribute,
    _change_attribute,
    _change_tensor,
    _change_ends,
)


def damage_json(chance: random.Random, data: bytes) -> bytes:
    """Change a few values of a body, or its bytes."""
    if chance.random() < 0.25:
        return damage_bytes(chance, data)
    body = json.loads(data)
    for _ in range(chance.randint(1, _MOST_STEPS)):
        body = _changed(chance, body)
    return json.dumps(body).encode()


def _odd(chance: random.Random) -> Any:  # noqa: ANN401 (any JSON value)
    deep: Any = 1
    for _ in range(chance.choice((3, 30, 40, 300))):
        deep = [deep]
    return chance.choice(
        (None, True, "", "a" * 3000, "\0", "\ud800", "../../etc", -1, 2**64, 10**400, *_FLOATS,
         [], {}, [None], {"": 0}, deep, "net_00000000000000000000000000", ["crown"] * 40)
    )  # fmt: skip


def _changed(chance: random.Random, value: Any) -> Any:  # noqa: ANN401
    """Return a JSON value with one place changed."""
    if isinstance(value, dict) and value and chance.random() < 0.9:
        key = chance.choice(list(value))
        match chance.randrange(5):
            case 0:
                return {name: entry for name, entry in value.items() if name != key}
            case 1:
                return {**value, chance.choice(("odd", key + "x", "")): _odd(chance)}
            case _:
                return {**value, key: _changed(chance, value[key])}
    if isinstance(value, list) and value and chance.random() < 0.7:
        place = chance.randrange(len(value))
        return [*value[:place], _changed(chance, value[place]), *value[place:]]
    return _odd(chance)


def packed(data: bytes) -> bytes:
    """Return gzip data."""
    packer = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    return packer.compress(data) + packer.flush()
