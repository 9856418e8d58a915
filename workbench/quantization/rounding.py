"""Put weights on an integer grid: to the nearest step, or so that the errors of rounding cancel in the outputs."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch

from workbench.artefact.onnx_graph import Graph
from workbench.jobs import Reporter
from workbench.quantization.patches import SeenLayer, as_patches, from_patches, observe_layers

Array = npt.NDArray[Any]

#: Share of the mean curvature added to the diagonal, so that directions never seen do not blow up.
_DAMPING = 0.01
#: Of learned rounding: steps of Adam, its rate, the weight of the pull towards a whole step, and its exponents.
_STEPS, _RATE, _PULL, _BLUNT, _SHARP = 300, 5e-2, 1.0, 20.0, 2.0
#: Columns that compensated rounding treats before it tells the rest.
_BLOCK = 128
_WARM = 0.2  # share of the steps without the pull


@dataclass(frozen=True)
class Grid:
    """The whole steps -largest .. largest, with a scale for each output channel or for the whole weight."""

    largest: int  # 127 for 8 bits: ONNX Runtime leaves -128 unused
    per_channel: bool = True
    clips: tuple[float, ...] = (1.0,)  # shares of the largest weight that the last step may stand for

    def scales(self, patches: Array) -> Array:
        """(groups, outputs, 1) of weights (groups, outputs, patch); of several clips the one of least squared error."""
        axis = 2 if self.per_channel else None
        most = np.maximum(np.abs(patches).max(axis=axis, keepdims=True), 1e-12) / self.largest
        best = np.broadcast_to(most * self.clips[0], (*patches.shape[:2], 1))
        least = self._loss(patches, best, axis)
        for clip in self.clips[1:]:
            loss = self._loss(patches, most * clip, axis)
            best = np.where(loss < least, most * clip, best)
            least = np.minimum(loss, least)
        return np.asarray(best)

    def _loss(self, patches: Array, scales: Array, axis: int | None) -> Array:
        steps = np.clip(np.rint(patches / scales), -self.largest, self.largest)
        return np.asarray(((steps * scales - patches) ** 2).sum(axis=axis, keepdims=True))


#: Weights (outputs, patch), scales (outputs, 1), second moment (patch, patch), largest step -> whole steps.
Method = Callable[[Array, Array, Array, int], Array]


def round_weights(
    model: onnx.ModelProto,
    inputs: Any,
    progress: Reporter,
    grid: Grid,
    method: Method,
    exclude: Container[str] = (),
) -> tuple[onnx.ModelProto, dict[str, Array]]:
    """A copy whose weights lie on the grid, and each weight's scales (outputs,).

    `inputs` (N, ...) are calibration images; nodes named in `exclude` stay as they are. Equal weights, those
    of a layer that runs twice, are rounded alike, for all that they read. Raises: `Cancelled`.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = Graph(copy)
    found: dict[str, Array] = {}
    seen = observe_layers(graph, inputs, progress.part(0.0, 0.3), second=True)
    layers = alike(graph, [layer for layer in seen if layer.second is not None and layer.node.name not in exclude])
    for index, (layer, *others) in enumerate(layers):
        progress(0.3 + 0.7 * index / len(layers), f"rounding {layer.node.name}")
        weight = graph.array(layer.node.input[1])
        patches = as_patches(layer, weight).astype(np.float64)
        scales = grid.scales(patches)
        second = np.mean([one.second for one in (layer, *others) if one.second is not None], axis=0)
        solved = [method(w, s, damped(h), grid.largest) * s for w, s, h in zip(patches, scales, second, strict=True)]
        rounded = from_patches(layer, np.stack(solved), weight).astype(weight.dtype)
        for name in (one.node.input[1] for one in (layer, *others)):
            graph.put(name, rounded)
            found[name] = scales.ravel()
    graph.store()
    return copy, found


def alike(graph: Graph, layers: Sequence[SeenLayer]) -> list[list[SeenLayer]]:
    """The layers, those with equal weights together."""
    found: dict[object, list[SeenLayer]] = {}
    for layer in layers:
        weight = graph.array(layer.node.input[1])
        key = (as_patches(layer, weight).shape, layer.node.op_type, weight.shape, weight.tobytes())
        found.setdefault(key, []).append(layer)
    return list(found.values())


def damped(second: Array) -> Array:
    """A second moment (patch, patch) that can be inverted."""
    size = len(second)
    return np.asarray(second + np.eye(size) * (_DAMPING * np.trace(second) / size + 1e-12))


def nearest(weight: Array, scale: Array, second: Array, largest: int) -> Array:
    """To the nearest step, whatever the inputs."""
    return np.asarray(np.clip(np.rint(weight / scale), -largest, largest))


def compensated(weight: Array, scale: Array, second: Array, largest: int) -> Array:
    """Weight by weight, and what rounding one loses those not yet rounded make up for.

    Minimises |(W - W_q) x|^2 greedily. The largest weight of each channel stays where it is, so that the
    scale that follows from it does. Source: Frantar et al. 2023, "GPTQ", eq. 2-3.
    """
    inverse = _inverse_root(second)
    left = weight.astype(np.float64)
    fixed = np.abs(weight) >= largest * scale * (1 - 1e-6)
    result = np.empty_like(left)
    for start in range(0, len(second), _BLOCK):
        end = min(start + _BLOCK, len(second))
        errors = np.empty((len(left), end - start))
        for index in range(start, end):
            column = np.where(fixed[:, index], weight[:, index], left[:, index])
            result[:, index] = np.clip(np.rint(column / scale[:, 0]), -largest, largest)
            error = (left[:, index] - result[:, index] * scale[:, 0]) / inverse[index, index]
            left[:, index + 1 : end] -= error[:, None] * inverse[index, index + 1 : end]
            errors[:, index - start] = error
        left[:, end:] -= errors @ inverse[start:end, end:]  # later columns are told of a whole block at once
    return result


def _inverse_root(second: Array) -> Array:
    """The upper triangular U with U^T U = inverse of `second`, without inverting it: U = R^-1 for second = R R^T."""
    root = np.linalg.cholesky(second[::-1, ::-1])[::-1, ::-1].copy()
    found = torch.linalg.solve_triangular(torch.from_numpy(root), torch.eye(len(root), dtype=torch.float64), upper=True)
    return np.asarray(found.numpy())


def learned(weight: Array, scale: Array, second: Array, largest: int) -> Array:
    """Up or down, decided for all weights together by gradient descent on |(W - W_q) x|^2.

    Source: Nagel et al. 2020, "Up or down? Adaptive rounding" (AdaRound), eq. 21-24, on the second moment of the
    inputs instead of the inputs themselves. Deterministic.
    """
    steps = torch.from_numpy(weight / scale).float()
    moment = torch.from_numpy(second / (np.trace(second) / len(second))).float()
    down = steps.floor().clamp(-largest, largest - 1)
    share = (steps - down).clamp(0.01, 0.99)
    choice = torch.special.logit((share + 0.1) / 1.2).requires_grad_()
    optimizer = torch.optim.Adam([choice], lr=_RATE)
    for step in range(_STEPS):
        up = _stretched(choice)
        error = down + up - steps
        loss = ((error @ moment) * error).sum()
        late = (step / _STEPS - _WARM) / (1 - _WARM)
        if late > 0:
            exponent = _SHARP + (_BLUNT - _SHARP) * 0.5 * (1 + np.cos(np.pi * late))
            loss = loss + _PULL * (1 - (2 * up - 1).abs() ** exponent).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return np.asarray((down + (_stretched(choice) >= 0.5)).clamp(-largest, largest).numpy(), dtype=np.float64)


def _stretched(choice: torch.Tensor) -> torch.Tensor:
    """The rectified sigmoid of eq. 23: reaches 0 and 1."""
    return (choice.sigmoid() * 1.2 - 0.1).clamp(0, 1)


METHODS: dict[str, Method] = {"nearest": nearest, "compensated": compensated, "learned": learned}
