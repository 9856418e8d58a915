"""ONNX's recurrent layers as torch's: one call for all steps, gates in torch's order."""

from __future__ import annotations

from typing import Any

import onnx
import torch

from workbench.artefact.onnx_graph import attribute
from workbench.operators import recurrent
from workbench.operators.windows import ints

Tensor = torch.Tensor
#: Where torch has ONNX's gates: ONNX has input, output, forget, cell; and update, reset, hidden.
_LSTM, _GRU, _RNN = (0, 2, 3, 1), (1, 0, 2), (0,)
_USUAL = {"LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}


def lstm(node: onnx.NodeProto, x: Tensor, *given: Any) -> tuple[Tensor, ...]:
    """(time, N, features) -> (time, directions, N, hidden) and the last states."""
    w, r, b, lengths, h, c, peepholes = _all(given, 7)
    _check(node, x, lengths, peepholes)
    states = [_start(one, x, r) for one in (h, c)]
    found = torch._VF.lstm(_in(node, x), states, *_settings(node, w, r, b, _LSTM))
    return _outputs(node, x, r, *found)


def gru(node: onnx.NodeProto, x: Tensor, *given: Any) -> tuple[Tensor, ...]:
    """As `lstm`, with one state. Where the reset comes first, which torch does not have, the steps are unrolled."""
    w, r, b, lengths, h = _all(given, 5)
    _check(node, x, lengths, None)
    if not attribute(node, "linear_before_reset", 0):
        return recurrent.gru(node, x, w, r, b, None, _start(h, x, r))
    found = torch._VF.gru(_in(node, x), _start(h, x, r), *_settings(node, w, r, b, _GRU))
    return _outputs(node, x, r, *found)


def rnn(node: onnx.NodeProto, x: Tensor, *given: Any) -> tuple[Tensor, ...]:
    """As `gru`, without gates."""
    w, r, b, lengths, h = _all(given, 5)
    names = {one.decode() for one in attribute(node, "activations", [b"Tanh"])}
    _check(node, x, lengths, None, names <= {"Tanh", "Relu"} and len(names) == 1)
    run: Any = torch._VF.rnn_relu if names == {"Relu"} else torch._VF.rnn_tanh
    return _outputs(node, x, r, *run(_in(node, x), _start(h, x, r), *_settings(node, w, r, b, _RNN)))


def _check(node: onnx.NodeProto, x: Tensor, lengths: Any, peepholes: Any, usual: bool | None = None) -> None:
    names = [one.decode() for one in attribute(node, "activations", [])]
    wanted = list(_USUAL[node.op_type])
    usual = names in ([], wanted, wanted * 2) if usual is None else usual
    steps = x.shape[1 if attribute(node, "layout", 0) else 0]
    whole = lengths is None or all(one == steps for one in ints(lengths))
    if not usual or not whole or peepholes is not None or attribute(node, "clip", 0.0):
        raise NotImplementedError("gates of its own")
    if attribute(node, "input_forget", 0):
        raise NotImplementedError("coupled gates")
    if attribute(node, "layout", 0):
        raise NotImplementedError("the batch in front")


def _all(given: tuple[Any, ...], count: int) -> list[Any]:
    """The inputs, those that were left out too."""
    return [*given, *[None] * (count - len(given))]


def _backwards(node: onnx.NodeProto) -> bool:
    return bool(attribute(node, "direction", b"forward") == b"reverse")


def _in(node: onnx.NodeProto, x: Tensor) -> Tensor:
    return x.flip(0) if _backwards(node) else x


def _start(state: Any, x: Tensor, r: Tensor) -> Any:
    """The first state, (directions, N, hidden); one of a batch of one is that of every input."""
    if state is None:
        return x.new_zeros(r.shape[0], x.shape[1], r.shape[-1])
    return state.expand(-1, x.shape[1], -1) if isinstance(state.shape[1], int) and state.shape[1] == 1 else state


def _settings(node: onnx.NodeProto, w: Tensor, r: Tensor, b: Any, order: tuple[int, ...]) -> tuple[Any, ...]:
    """The weights, (has_biases, layers, dropout, train, bidirectional, batch_first)."""
    flat: list[Tensor] = []
    size = r.shape[-1]
    for index in range(r.shape[0]):
        flat += [_ordered(one[index], size, order) for one in (w, r)]
        if b is not None:
            flat += [_ordered(one, size, order) for one in b[index].chunk(2)]
    return flat, b is not None, 1, 0.0, False, r.shape[0] == 2, False


def _ordered(value: Tensor, size: int, order: tuple[int, ...]) -> Tensor:
    return torch.cat([value[gate * size : (gate + 1) * size] for gate in order])


def _outputs(node: onnx.NodeProto, x: Tensor, r: Tensor, found: Tensor, *last: Tensor) -> tuple[Tensor, ...]:
    directions, size = r.shape[0], r.shape[-1]
    split = found.reshape(x.shape[0], x.shape[1], directions, size).permute(0, 2, 1, 3)
    return (split.flip(0) if _backwards(node) else split, *last)
