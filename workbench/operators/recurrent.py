"""ONNX's recurrent operators in torch, differentiable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx
import torch

from workbench.artefact.onnx_graph import attribute

Tensor = torch.Tensor


def lstm(  # noqa: PLR0913  # the inputs of ONNX's operator
    node: onnx.NodeProto, x: Tensor, w: Tensor, r: Tensor, b: Any = None, lengths: Any = None, h: Any = None,
    c: Any = None, peepholes: Any = None,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Outputs (time, directions, N, hidden), and the last states. Gates in the order input, output, forget, cell."""
    _check(node, lengths, peepholes)

    def cell(gates: Tensor, recurrent: Tensor, bias: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        i, o, f, g = (gates + state[0] @ recurrent.T + bias).chunk(4, -1)
        memory = f.sigmoid() * state[1] + i.sigmoid() * g.tanh()
        return o.sigmoid() * memory.tanh(), memory

    return _unrolled(node, x, (w, r, _sum(b, r)), (h, c), cell)


def gru(  # noqa: PLR0913  # the inputs of ONNX's operator
    node: onnx.NodeProto, x: Tensor, w: Tensor, r: Tensor, b: Any = None, lengths: Any = None, h: Any = None
) -> tuple[Tensor, ...]:
    """Outputs (time, directions, N, hidden), and the last state. Gates in the order update, reset, hidden."""
    _check(node, lengths, None)
    size = r.shape[-1]
    both = torch.zeros(len(r), 6 * size) if b is None else b
    after = bool(attribute(node, "linear_before_reset", 0))

    def cell(gates: Tensor, recurrent: Tensor, bias: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        (hidden,) = state
        own, inner = bias.chunk(2)
        most, last = recurrent[: 2 * size].T, recurrent[2 * size :].T
        shift = own[: 2 * size] + inner[: 2 * size]
        z, reset = (gates[..., : 2 * size] + hidden @ most + shift).sigmoid().chunk(2, -1)
        new = reset * (hidden @ last + inner[2 * size :]) if after else (reset * hidden) @ last + inner[2 * size :]
        candidate = (gates[..., 2 * size :] + own[2 * size :] + new).tanh()
        return ((1 - z) * candidate + z * hidden,)

    return _unrolled(node, x, (w, r, both), (h,), cell)


def _check(node: onnx.NodeProto, lengths: Any, peepholes: Any) -> None:
    odd = lengths is not None or peepholes is not None or attribute(node, "layout", 0) or attribute(node, "clip", 0.0)
    if odd or attribute(node, "activations", None) or attribute(node, "input_forget", 0):
        raise NotImplementedError


def _sum(bias: Any, recurrent: Tensor) -> Tensor:
    """The biases of the input and of the state together, (directions, gates)."""
    if bias is None:
        return torch.zeros(recurrent.shape[:2])
    own, inner = bias.chunk(2, -1)
    total: Tensor = own + inner
    return total


def _unrolled(
    node: onnx.NodeProto, x: Tensor, weights: tuple[Tensor, ...], starts: tuple[Any, ...], cell: Callable[..., Any]
) -> tuple[Tensor, ...]:
    """Step through (time, N, features), once for each direction."""
    direction = attribute(node, "direction", b"forward").decode()
    size, found, last = weights[1].shape[-1], [], []
    for index, (w, r, b) in enumerate(zip(*weights, strict=True)):
        back = direction == "reverse" or index == 1
        state = tuple(x.new_zeros(x.shape[1], size) if one is None else one[index] for one in starts)
        steps = []
        for gates in reversed((x @ w.T).unbind(0)) if back else (x @ w.T).unbind(0):
            state = cell(gates, r, b, state)
            steps.append(state[0])
        found.append(torch.stack(steps[::-1] if back else steps))
        last.append(state)
    return (torch.stack(found, 1), *(torch.stack(one) for one in zip(*last, strict=True)))
