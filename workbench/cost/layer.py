"""One operation of a network as a value: its shape, its costs, and its place in the flow of data."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from math import prod
from typing import Any, Generic, TypeVar, overload

Shape = tuple[int, ...]
T = TypeVar("T")

#: Kinds that a runtime computes in place once they are folded into the layer before them.
IN_PLACE = frozenset({"norm", "activation"})
#: What a product counts as its work, and what only moves or names elements.
CONVOLUTIONS = frozenset({"conv", "conv_transpose"})
#: Layers with a weight that techniques treat: convolutions and products with a matrix.
WITH_WEIGHTS = CONVOLUTIONS | {"linear"}
#: Several copies, planned as one operation; its `others` are what they move beside its input and output.
SHIFT = "shift"
#: What says where an operation stands, and nothing of what it costs.
PLACE = frozenset({"name", "reads", "writes", "node", "result"})
#: So many answers are remembered of one shape; a slider that is dragged for hours asks for no more.
_MOST = 4096


class Figure(Generic[T]):
    """A number that follows from an operation's shape alone.

    The first that is asked for brings all of them, once for all operations of that shape. The operation then has
    them as attributes of its own, which are found several times faster.
    """

    def __init__(self, doc: str) -> None:
        self.__doc__ = doc

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, layer: None, owner: type) -> Figure[T]: ...
    @overload
    def __get__(self, layer: object, owner: type) -> T: ...
    def __get__(self, layer: Any, owner: type) -> T | Figure[T]:
        if layer is None:
            return self
        known: dict[str, Any] = layer.memo.get(Figure) or layer.remembered(Figure, _figures)
        layer.__dict__.update(known)
        found: T = known[self._name]
        return found


@dataclass(frozen=True)
class Layer:
    """One operation. Shapes leave the batch out: (C, H, W) for a feature map, (features,) for a vector.

    `memo` holds what was computed from the shape; operations of one shape in one network share it.
    """

    name: str
    kind: str  # see `workbench.cost.kinds`; "other" has no rule
    input: Shape
    output: Shape
    module: str = ""  # path of the torch module that holds the weights; "" for a functional operation
    kernel: Shape = ()
    stride: Shape = ()
    padding: Shape = ()
    dilation: Shape = ()
    groups: int = 1
    bias: bool = False
    weights: int = 0  # parameters of kinds whose count does not follow from the shapes
    bits: int = 32  # precision of weights and activations
    reads: tuple[int, ...] = ()  # ids of the tensors read
    writes: int = -1  # id of the tensor written
    fused: bool = False  # folded into a layer before it, see `workbench.cost.fusion`
    op: str = ""  # torch's name of the operator
    others: int = 0  # elements of the second and further inputs
    work: int = 0  # multiply-accumulates of kinds whose count does not follow from the shapes
    stored_bits: int = 0  # of a weight in the file, where it is computed in more: `bits`
    shared: bool = False  # its weights were counted with an earlier operation
    tied: int = 0  # of its weights, how many were counted with an earlier operation where not all were
    result: bool = False  # what it writes is an output of the network, whatever else reads it
    node: str = ""  # of a canonical graph, the node that it comes from
    axes: tuple[int, ...] = ()  # of the input without the batch, those that a pooling over whole axes takes away
    fixed: int = 0  # elements of the largest tensor beside data that no module holds: a parameter, a mask
    #: What makes its weights compress: the share that is zero, and how many values the others have (0: any number).
    pattern: tuple[float, int] = (0.0, 0)

    memo: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**{name: getattr(self, name) for name in FIELDS}, "memo": {}}

    def but(self, **changes: Any) -> Layer:
        """The operation with other values: itself where they are those that it has."""
        if not changes.keys() <= FIELDS:
            raise TypeError(f"A layer has no {', '.join(changes.keys() - FIELDS)}.")
        apart = tuple(one for one in changes.items() if getattr(self, one[0]) != one[1])
        if not apart:
            return self
        new = object.__new__(Layer)
        state = new.__dict__
        stays = PLACE if not changes.get("module") or not self.module else PLACE | {"module"}
        shape = tuple(one for one in apart if one[0] not in stays)
        if shape:  # all that become the same shape in the same way share what is remembered of it
            state.update({name: value for name, value in self.__dict__.items() if name in FIELDS})
            state["memo"] = self.remembered(shape, _new)
        else:
            state.update(self.__dict__)
            state.pop("versions", None)
        state.update(apart)
        return new

    @classmethod
    def made(cls, **values: Any) -> Layer:
        """As the constructor, several times faster: planners make hundreds while a slider moves."""
        new = object.__new__(cls)
        new.__dict__.update(values, memo={})  # the class itself has the defaults
        return new

    def placed(self, name: str, module: str, reads: tuple[int, ...], writes: int, result: bool) -> Layer:
        """The operation at another place of a network, in a module: it costs the same there."""
        if not module or not self.module:
            return self.but(name=name, module=module, reads=reads, writes=writes, result=result)
        new = object.__new__(Layer)
        state = new.__dict__
        state.update(self.__dict__)
        state.pop("versions", None)
        state["name"], state["module"], state["reads"], state["writes"], state["result"] = (
            name, module, reads, writes, result,
        )  # fmt: skip
        return new

    def at(self, bits: int, stored_bits: int) -> Layer:
        """The operation computed in so many bits, its weights stored in so many: the same object each time."""
        if bits == self.bits and stored_bits == self.stored_bits:
            return self
        state = self.__dict__
        versions: dict[tuple[int, int], Layer] = state.setdefault("versions", {})
        if (bits, stored_bits) not in versions:
            new = versions[bits, stored_bits] = object.__new__(Layer)
            memo = self.remembered((bits, stored_bits), _new)
            new.__dict__.update(state, bits=bits, stored_bits=stored_bits, memo=memo)
            del new.__dict__["versions"]
            if "costs" in state:  # figures: those that bits have no say in stay
                new.__dict__.update(memo.get(Figure) or new.remembered(Figure, _in_bits))
        return versions[bits, stored_bits]

    def remembered(self, what: Hashable, compute: Callable[[Layer], T]) -> T:
        """`compute(layer)`, once for all operations of this shape; it may look at nothing but the shape."""
        memo = self.memo
        if what not in memo:
            if len(memo) > _MOST:
                memo.clear()
            memo[what] = compute(self)
        found: T = memo[what]
        return found

    c_in = Figure[int]("Input channels or features.")
    c_out = Figure[int]("Output channels or features.")
    macs = Figure[int]("Multiply-accumulates for one input.")
    params = Figure[int]("Weights and biases that are counted here: 0 where an earlier operation has the same ones.")
    weight_elements = Figure[int]("Weights and biases that are read.")
    memory_access_bytes = Figure[int](
        """What the runtime moves: as `unfused_memory_access_bytes`, but nothing for what is folded away.

        A residual sum that is folded into a convolution still reads the other summand.
        """
    )
    unfused_memory_access_bytes = Figure[int](
        """Elements read and written once each, plus the weights, times the element size.

        For a 1x1 convolution h*w*(c_in + c_out) + c_in*c_out, as in ShuffleNetV2 (Ma et al. 2018, eq. 1).
        """
    )
    costs = Figure[tuple[int, int, int]]("MACs, parameters and bytes of memory access: what adds up over layers.")
    input_bytes = Figure[int]("Of the first input.")
    output_bytes = Figure[int]("Of the output.")


def _figures(x: Layer) -> dict[str, Any]:
    """All that follows from a shape. Planners ask it of hundreds while a slider moves, hence in one go."""
    before, after = prod(x.input), prod(x.output)
    c_in, c_out, macs, weights = _products(x, before, after)
    counted = (x.weights or x.module) and not x.shared  # others nobody learnt, or they are computed from the data
    params = weights - x.tied if counted else 0
    own = {"c_in": c_in, "c_out": c_out, "macs": macs, "params": params, "weight_elements": weights}
    return own | _bytes(x, before, after, own)


def _in_bits(x: Layer) -> dict[str, Any]:
    """All figures of an operation that has those of itself at another precision."""
    own = {name: getattr(x, name) for name in ("c_in", "c_out", "macs", "params", "weight_elements")}
    return own | _bytes(x, prod(x.input), prod(x.output), own)


def _bytes(x: Layer, before: int, after: int, own: Mapping[str, int]) -> dict[str, Any]:
    moved, unfused = _moved(x, before, after, own["weight_elements"])
    return {
        "memory_access_bytes": moved, "unfused_memory_access_bytes": unfused,
        "costs": (own["macs"], own["params"], moved),
        "input_bytes": before * x.bits // 8, "output_bytes": after * x.bits // 8,
    }  # fmt: skip


def _products(x: Layer, before: int, after: int) -> tuple[int, int, int, int]:
    """Channels read and written, multiply-accumulates, weights and biases.

    Channels come first in a feature map, before the kernel's axes, and last for a linear layer.
    """
    kind = x.kind
    axis = -1 if kind == "linear" else -1 - len(x.kernel) if kind in CONVOLUTIONS else 0
    c_in, c_out = x.input[axis] if x.input else 1, x.output[axis] if x.output else 1
    if kind not in WITH_WEIGHTS:
        return c_in, c_out, x.work, x.weights
    taps = prod(x.kernel)
    macs = (before * (c_out // x.groups) if kind == "conv_transpose" else after * (c_in // x.groups)) * taps
    return c_in, c_out, macs, c_in * c_out // x.groups * taps + c_out * x.bias


def _moved(x: Layer, before: int, after: int, weights: int) -> tuple[int, int]:
    """Bytes that the runtime moves, and that it would if nothing were folded away."""
    if x.kind == "reshape":
        unfused = 0
    elif x.kind == "copy" and x.op != SHIFT:  # what is not taken is not read
        unfused = 2 * after * x.bits // 8
    else:
        unfused = (before + x.others + after + weights) * x.bits // 8
    if not x.fused or (x.kind == "add" and x.bits < 32):  # integer kernels do not take sums in
        return unfused, unfused
    return x.others * x.bits // 8 if x.kind == "add" else 0, unfused


def _new(_: Layer) -> dict[Hashable, Any]:
    return {}


#: What a layer is made with.
FIELDS = frozenset(one.name for one in fields(Layer)) - {"memo"}


def interned(layers: Iterable[Layer]) -> tuple[Layer, ...]:
    """The layers; those of one shape share what is remembered of it."""
    memos: dict[Hashable, dict[Hashable, Any]] = {}
    found = tuple(layers)
    names = sorted(FIELDS - PLACE - {"module"})
    for layer in found:
        shape = (bool(layer.module), *(getattr(layer, name) for name in names))
        layer.__dict__["memo"] = memos.setdefault(shape, layer.memo)
    return found
