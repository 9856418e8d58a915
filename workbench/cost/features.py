"""What a layer makes the runtime do, in numbers that its time is linear in.

ONNX Runtime on a CPU keeps feature maps in blocks of 16 channels where it can. Which kernel a convolution gets,
how many channels are padded, and where maps change between blocked and plain order follows from the shapes
alone; these rules were read off its optimised graphs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial
from math import ceil, prod
from typing import NamedTuple

from workbench.cost.layer import CONVOLUTIONS, Layer, Shape
from workbench.cost.links import Links
from workbench.cost.network import Network

BLOCK = 16  # channels side by side in memory, one vector register of float32
ALIGNED = 4  # channel counts that are no multiple of this stay in plain order
#: Maps of more than this share of the cache do not outlast the operators between their making and their use.
_SHARE = 4
#: Kinds that work on blocked maps as they are.
_BLOCKED = frozenset({"pool", "add", "activation", "norm"})


class Work(NamedTuple):
    """One operator that the runtime starts: its regime, and how much of everything there is."""

    regime: str  # the kernel: its coefficients differ from other kernels'
    macs: float = 0.0  # including those on padded channels
    bytes: float = 0.0  # of activations
    unfolded: float = 0.0  # bytes of patches laid out for a matrix product; rows of output for direct kernels
    weights: float = 0.0  # bytes
    far: float = 0.0  # bytes of weights that do not stay in the core's cache from one inference to the next
    spilled: float = 0.0  # bytes of maps so large that they leave the core's cache before they are read
    passes: float = 0.0  # bytes of output that are added to anew, once for every block of input channels
    groups: float = 0.0  # that are computed one after the other
    cold: float = 0.0  # 1 where what the operator needs has left the core's cache since the last inference
    starts: float = 1.0


AMOUNTS = Work._fields[1:]


def padded(channels: int) -> int:
    """Channels as they lie in memory."""
    return ceil(channels / BLOCK) * BLOCK


def is_blocked(layer: Layer) -> bool:
    """Whether a float convolution gets a direct kernel on blocked maps; elsewhere patches are unfolded."""
    if layer.kind != "conv" or layer.bits != 32 or len(layer.kernel) != 2:
        return False
    if layer.groups == 1:
        return layer.c_in < BLOCK or layer.c_in % ALIGNED == 0
    if layer.groups == layer.c_in == layer.c_out:
        return layer.c_out % ALIGNED == 0
    return layer.c_in // layer.groups % BLOCK == 0 and layer.c_out // layer.groups % BLOCK == 0


def work(network: Network, cache_bytes: float) -> list[tuple[Work, ...]]:
    """What each layer makes the runtime do: nothing, one operator, or one with changes of the maps' order."""
    return [operators(layer, setting) for layer, setting in settings(network, cache_bytes)]


@dataclass(frozen=True, eq=False)
class Setting:
    """What the layers around one decide of its work. There is one object for equal ones: to find answers by is fast."""

    reorders: int  # inputs that lie in another order than it reads
    far: bool  # whether weights and maps together do not fit into the cache
    cache_bytes: float


_setting = lru_cache(maxsize=256)(Setting)


def settings(network: Network, cache_bytes: float, far: bool | None = None) -> list[tuple[Layer, Setting]]:
    """Every layer, with what the others decide of its work; `far` decides itself whether all fit into the cache."""
    return [one for given in settled(network, cache_bytes, far) for one in each(*given)]


def settled(network: Network, cache_bytes: float, far: bool | None) -> list[tuple[Layer | Links, bool, Setting]]:
    """What is executed, the order of its first input's map, and what the others decide of its work, or its first's."""
    if far is None:
        far = network.total(_weights) + network.totals.peak_activation_bytes > cache_bytes
    known = [_setting(count, far, cache_bytes) for count in range(4)]
    blocked: dict[int, bool] = {}  # the order of each tensor's map
    done: set[tuple[int, bool]] = set()  # changes of order that were made
    found = []
    for runs, reads, writes in network.steps:
        first = blocked.get(reads[0], False) if reads else False
        wants, blocked[writes] = runs.memo.get(first) or runs.remembered(first, partial(_order, first))
        if wants is None or (wants == first and len(reads) == 1):
            found.append((runs, first, known[0]))
            continue
        turned = {(tensor, wants) for tensor in reads if blocked.get(tensor, False) != wants} - done
        done |= turned
        count = len(turned)
        found.append((runs, first, known[count] if count < len(known) else _setting(count, far, cache_bytes)))
    return found


def each(runs: Layer | Links, first: bool, setting: Setting) -> list[tuple[Layer, Setting]]:
    """The layers of what is executed, each with its setting: between the links of a chain there is nothing else."""
    if isinstance(runs, Layer):
        return [(runs, setting)]
    found = []
    for index, layer in enumerate(runs):
        wants, after = _order_of(first, layer)
        turned = int(wants is not None and wants != first)
        found.append((layer, setting if index == 0 else _setting(turned, setting.far, setting.cache_bytes)))
        first = after
    return found


def _weights(layer: Layer) -> float:
    """Bytes of the weights that are read."""
    return layer.weight_elements * layer.bits / 8


def operators(layer: Layer, setting: Setting) -> tuple[Work, ...]:
    """What one layer makes the runtime do."""
    inputs, cold = prod(layer.input), 1.0 if setting.far else 0.0
    acts = layer.bits / 8 * (inputs + layer.others + prod(layer.output))
    found: list[Work] = []
    if setting.reorders:
        found += [Work("reorder", bytes=2 * inputs * layer.bits / 8, cold=cold)] * setting.reorders
    if layer.op in _SIZED and len(layer.output) > 1:  # the file computes the new sizes from the batch's
        found.append(Work("sizes", cold=cold))
    if layer.fused and layer.op.rstrip("_") in _CLIPS and layer.bits == 32:
        rows = ceil(layer.output[0] / BLOCK) * prod(layer.output[1:-1])
        found.append(Work("clip", bytes=2 * prod(layer.output) * 4, groups=rows, starts=0.0))
    if layer.macs or layer.memory_access_bytes:
        found.append(_operator(layer, acts, cold))
    if found and not layer.fused and acts > setting.cache_bytes / _SHARE:
        found[-1] = found[-1]._replace(spilled=acts)
    return tuple(found)


def _order(first: bool, runs: Layer | Links) -> tuple[bool | None, bool]:
    """The order that inputs are wanted in (None: any), and that of the output. `first`: the first input's."""
    if isinstance(runs, Layer):
        return _order_of(first, runs)
    wanted, after = _order_of(first, runs[0])
    for layer in runs[1:]:
        _, after = _order_of(after, layer)
    return wanted, after


def _order_of(first: bool, layer: Layer) -> tuple[bool | None, bool]:
    if layer.kind == "reshape" and len(layer.input) == len(layer.output):
        return None, first
    if is_blocked(layer):
        return (None if layer.groups == 1 and layer.c_in < BLOCK else True), True
    if layer.bits == 32 and first and (layer.kind in _BLOCKED or (layer.op == "cat" and _cat_aligned(layer))):
        return (True if layer.others == prod(layer.input) else None), len(layer.output) == len(layer.input)
    # vectors have no order: what a global pooling leaves is plain for free
    return (None if prod(layer.input[1:]) == 1 else False), False


def _cat_aligned(layer: Layer) -> bool:
    return layer.input[0] % BLOCK == 0 and layer.output[0] % BLOCK == 0


def _operator(layer: Layer, acts: float, cold: float) -> Work:
    """What computes the layer itself."""
    moved, small = layer.memory_access_bytes, "8" if layer.bits == 8 else ""
    if layer.fused:  # a sum taken in: the other summand is read, or in integers the sum is an operator
        return Work(f"move{small}", bytes=moved, cold=cold if small else 0.0, starts=1.0 if small else 0.0)
    if layer.kind in CONVOLUTIONS:
        return _convolution(layer, acts, cold)
    if layer.macs:
        tokens, weights = layer.kind != "linear" or prod(layer.input[:-1]) > 1, _weights(layer)
        regime = f"{'product' if tokens else 'vector'}{small}"
        return Work(regime, layer.macs, acts, 0.0, weights, cold * weights, cold=cold)
    regime = "join" if small and layer.op == "cat" else _SLOW.get(layer.op, "move")
    return Work(f"{regime}{small}", bytes=moved, cold=cold)


#: Exported with small operators that compute sizes while the network runs.
_SIZED = frozenset({"view", "_unsafe_view", "reshape", "chunk", "split"})
#: Taken in by a convolution, but not by its kernel as a ReLU is: one more pass over each row of each block.
_CLIPS = frozenset({"hardtanh", "relu6", "clamp"})
#: Element-wise operators that compute an exponential, and changes of order: slower a byte than a sum.
_SLOW = {
    **dict.fromkeys(("gelu", "silu", "silu_", "sigmoid", "_softmax", "tanh", "hardswish", "hardswish_"), "function"),
    **dict.fromkeys(("transpose", "permute", "native_layer_norm", "layernormalization"), "function"),
}


def _convolution(layer: Layer, acts: float, cold: float) -> Work:
    size, taps, places = layer.bits / 8, prod(layer.kernel), prod(layer.output[1:])
    c_in, c_out, groups, weights = layer.c_in, layer.c_out, layer.groups, layer.weight_elements * size
    far = cold * weights
    depthwise = groups > 1 and groups == c_in == c_out
    if is_blocked(layer):
        own, wide = c_in // groups, padded(c_out)
        inner = padded(own) if own >= BLOCK else own
        regime = "depthwise" if depthwise else "stem" if own < BLOCK else "pointwise" if taps == 1 else "dense"
        inside, touched = _taps(
            layer.input[1:], layer.output[1:], layer.kernel, layer.stride, layer.padding, layer.dilation
        )
        row = layer.output[1] * wide * taps * inner * inside
        weights, far = weights * touched, far * touched**0.5  # what is skipped between is fetched in part
        acts = size * (prod(layer.input) / c_in * padded(c_in) + places * wide)
        passes = size * places * wide * ceil(inner / BLOCK) if regime == "dense" else 0.0
        return Work(regime, row * layer.output[-1], acts, row, weights, far, 0.0, passes, 0.0, cold)
    patches = size * places * c_in * taps if taps > 1 else 0.0
    if layer.bits == 8:
        regime = "depthwise8" if depthwise else "pointwise8" if taps == 1 else "dense8"
        groups = 0 if depthwise else groups
    else:
        regime = "unfolded"
    return Work(regime, layer.macs, acts, patches, weights, far, 0.0, 0.0, groups if groups > 1 else 0, cold)


@lru_cache(maxsize=4096)
def _taps(*sides: Shape) -> tuple[float, float]:
    """Shares of (place, tap) pairs inside the map, and of taps that are inside it anywhere: kernels skip the others.

    `sides`: sizes before and after, kernel, stride, padding, dilation, each along every axis.
    """
    inside, touched = zip(*[_along(*side) for side in zip(*sides, strict=True)], strict=True)
    return prod(inside), prod(touched)


def _along(before: int, after: int, size: int, stride: int, pad: int, dilation: int) -> tuple[float, float]:
    """As `_taps`, along one side of the map."""
    seen = [sum(0 <= place * stride - pad + tap * dilation < before for place in range(after)) for tap in range(size)]
    return sum(seen) / (after * size), sum(map(bool, seen)) / size
