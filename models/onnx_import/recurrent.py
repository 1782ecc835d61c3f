"""RNN, GRU and LSTM, unrolled over the length of the sequence, which is static."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from models.onnx_import.call import Call
from models.onnx_import.products import multiplied
from models.onnx_import.values import Activation, Known
from models.operators import (
    Add,
    Concat,
    Constant,
    Linear,
    Operator,
    Relu,
    Sigmoid,
    Take,
    Tanh,
)
from models.parameters import Narrow, ParameterRef, ReshapeTo

__all__ = ["gru", "lstm", "rnn"]

_FUNCTIONS: Mapping[str, Operator] = {"relu": Relu(), "sigmoid": Sigmoid(), "tanh": Tanh()}


@dataclass(frozen=True)
class _State:
    """What one step hands to the next, each of shape `(1, batch, hidden)`; None while zero."""

    hidden: Activation | None
    cell: Activation | None = None


@dataclass(frozen=True)
class _Cell:
    """One direction of a recurrent node.

    Attributes:
        call: The node.
        direction: 0, or 1 for the second of two.
        hidden: Size of the state.
        functions: The activation functions of this direction.
    """

    call: Call
    direction: int
    hidden: int
    functions: tuple[Operator, ...]

    def weight(self, position: int, start: int, count: int) -> ParameterRef:
        """Return the rows of some gates of W (input 1) or R (input 2)."""
        value = self.call.known(position)
        columns = value.shape[-1]
        rows = value.shape[1]
        reference = self.call.parameter(value, ReshapeTo((value.shape[0] * rows, columns)))
        first = self.direction * rows + start * self.hidden
        return reference.then(Narrow(0, first, count * self.hidden))

    def bias(self, half: int, start: int, count: int) -> ParameterRef | None:
        """Return the biases of some gates beside W (half 0) or R (half 1)."""
        value = self.call.optional_known(3)
        if value is None:
            return None
        length = value.shape[-1]
        first = self.direction * length + half * length // 2 + start * self.hidden
        flat = self.call.parameter(value, ReshapeTo((value.array.size,)))
        return flat.then(Narrow(0, first, count * self.hidden))

    def recurrent(self, state: Activation | None, start: int, count: int) -> Activation | None:
        """Return R h + its bias for some gates; None where both are nothing."""
        bias = self.bias(1, start, count)
        if state is not None:
            return self.call.emit(Linear(self.weight(2, start, count), bias), state)
        return None if bias is None else self.call.emit(Constant(bias))

    def gates(self, x: Activation, start: int, count: int) -> Activation:
        """Cut some gates out of the last axis."""
        indices = tuple(range(start * self.hidden, (start + count) * self.hidden))
        whole = len(indices) == x.shape[-1]
        return x if whole else self.call.emit(Take(2, indices), x)

    def add(self, x: Activation, other: Activation | None, sign: float = 1.0) -> Activation:
        """Add what may be nothing, repeated over the batch where it is a bias."""
        if other is None:
            return x
        return self.call.emit(Add((1.0, sign)), x, self.call.expand(other, x.shape))

    def apply(self, number: int, x: Activation) -> Activation:
        """Apply the activation function of that number."""
        return self.call.emit(self.functions[number], x)


_Step = Callable[[_Cell, Activation, _State], _State]


def _rnn_step(cell: _Cell, driven: Activation, state: _State) -> _State:
    total = cell.add(driven, cell.recurrent(state.hidden, 0, 1))
    return _State(cell.apply(0, total))


def _lstm_step(cell: _Cell, driven: Activation, state: _State) -> _State:
    """Gates stand in the order input, output, forget, candidate."""
    call = cell.call
    total = cell.add(driven, cell.recurrent(state.hidden, 0, 4))
    gates = cell.apply(0, cell.gates(total, 0, 3))
    candidate = cell.apply(1, cell.gates(total, 3, 1))
    memory = multiplied(call, cell.gates(gates, 0, 1), candidate)
    if state.cell is not None:
        kept = multiplied(call, cell.gates(gates, 2, 1), state.cell)
        memory = call.emit(Add((1.0, 1.0)), memory, kept)
    hidden = multiplied(call, cell.gates(gates, 1, 1), cell.apply(2, memory))
    return _State(hidden, memory)


def _gru_step(cell: _Cell, driven: Activation, state: _State) -> _State:
    """Gates stand in the order update, reset, candidate; h' = c + z (h − c) has one product."""
    call, before = cell.call, state.hidden
    gates = cell.apply(0, cell.add(cell.gates(driven, 0, 2), cell.recurrent(before, 0, 2)))
    update, reset = cell.gates(gates, 0, 1), cell.gates(gates, 1, 1)
    if call.attributes.get("linear_before_reset", 0):
        inner = cell.recurrent(before, 2, 1)
        if inner is not None:
            inner = multiplied(call, reset, call.expand(inner, reset.shape))
    else:
        inner = cell.recurrent(None if before is None else multiplied(call, reset, before), 2, 1)
    candidate = cell.apply(1, cell.add(cell.gates(driven, 2, 1), inner))
    if before is None:
        minus = call.scale(candidate, call.constant(-1.0), None)
        return _State(cell.add(candidate, multiplied(call, update, minus)))
    change = call.emit(Add((1.0, -1.0)), before, candidate)
    return _State(cell.add(candidate, multiplied(call, update, change)))


def rnn(call: Call) -> list[Activation]:
    """Import RNN."""
    return _unrolled(call, _rnn_step, ("Tanh",))


def gru(call: Call) -> list[Activation]:
    """Import GRU."""
    return _unrolled(call, _gru_step, ("Sigmoid", "Tanh"))


def lstm(call: Call) -> list[Activation]:
    """Import LSTM without peepholes."""
    if call.attributes.get("input_forget", 0):
        raise call.unsupported("attribute input_forget is 1")
    peepholes = call.optional_known(7)
    if peepholes is not None and peepholes.array.any():
        raise call.unsupported("it has peepholes (input 7)")
    return _unrolled(call, _lstm_step, ("Sigmoid", "Tanh", "Tanh"))


def _unrolled(call: Call, step: _Step, defaults: tuple[str, ...]) -> list[Activation]:
    """Return all hidden states, the last hidden state and the last cell state."""
    x = call.activation(0)
    _check(call, x)
    call.require("direction", ("forward", "reverse", "bidirectional"))
    direction = call.attributes.get("direction", "forward")
    reverse = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
    sequences, lasts = [], []
    for number, backwards in enumerate(reverse[direction]):
        hidden = call.known(2).shape[-1]
        functions = _functions(call, defaults, number, len(reverse[direction]))
        states = _run(_Cell(call, number, hidden, functions), step, x, backwards=backwards)
        lasts.append(states[-1])
        sequences.append(reversed(states) if backwards else states)
    outputs = [_sequence(call, sequences), _joined(call, [last.hidden for last in lasts])]
    if all(last.cell is not None for last in lasts):
        outputs.append(_joined(call, [last.cell for last in lasts]))
    return outputs


def _run(cell: _Cell, step: _Step, x: Activation, *, backwards: bool) -> list[_State]:
    """Return the states in the order in which they are computed."""
    call, length = cell.call, x.shape[0]
    count = call.known(1).shape[1] // cell.hidden
    driven = call.emit(Linear(cell.weight(1, 0, count), cell.bias(0, 0, count)), x)
    state = _State(_initial(cell, 5), _initial(cell, 6))
    states = []
    for time in reversed(range(length)) if backwards else range(length):
        now = driven if length == 1 else call.emit(Take(0, (time,)), driven)
        state = step(cell, now, state)
        states.append(state)
    return states


def _check(call: Call, x: Activation) -> None:
    """Refuse what the cells here do not do."""
    call.require("layout", (0,))
    if "clip" in call.attributes:
        raise call.unsupported("attribute clip")
    if x.rank != 3:
        raise call.malformed(f"the sequence has shape {x.shape}, expected three axes")
    lengths = call.optional_known(4)
    if lengths is not None and (lengths.array != x.shape[0]).any():
        raise call.unsupported("sequences are cut short (input 4, sequence_lens)")
    for position in (1, 2):
        if call.known(position).array.ndim != 3:
            raise call.malformed(f"input {position} must have three axes")


def _functions(
    call: Call, defaults: tuple[str, ...], number: int, directions: int
) -> tuple[Operator, ...]:
    """Return the activation functions of one direction."""
    listed = call.attributes.get("activations")
    names = [
        name.decode() if isinstance(name, bytes) else str(name)
        for name in listed or defaults * directions
    ]
    if len(names) != len(defaults) * directions:
        raise call.malformed(f"activations {names} do not fit {directions} directions")
    own = names[number * len(defaults) : (number + 1) * len(defaults)]
    unknown = [name for name in own if name.lower() not in _FUNCTIONS]
    if unknown:
        raise call.unsupported(f"activation function {unknown[0]}")
    return tuple(_FUNCTIONS[name.lower()] for name in own)


def _initial(cell: _Cell, position: int) -> Activation | None:
    """Return an initial state of one direction, shape `(1, batch, hidden)`; None for zeros."""
    value = cell.call.input(position)
    if value is None:
        return None
    if isinstance(value, Known):
        if not np.any(value.array):
            cell.call.builder.freeze(value)
            return None
        value = cell.call.emit(Constant(cell.call.parameter(value)))
    return value if value.shape[0] == 1 else cell.call.emit(Take(0, (cell.direction,)), value)


def _joined(call: Call, parts: list[Activation | None]) -> Activation:
    """Join along the first axis."""
    present = [part for part in parts if part is not None]
    return present[0] if len(present) == 1 else call.emit(Concat(0), *present)


def _sequence(call: Call, directions: Sequence[Iterable[_State]]) -> Activation:
    """Return all hidden states, shape `(length, directions, batch, hidden)`."""
    stacked = []
    for states in directions:
        joined = _joined(call, [state.hidden for state in states])
        length, batch, hidden = joined.shape
        stacked.append(call.reshape(joined, (length, 1, batch, hidden)))
    return stacked[0] if len(stacked) == 1 else call.emit(Concat(1), *stacked)
