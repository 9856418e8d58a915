"""One operation of a network as a value: its shape, its costs, and its place in the flow of data."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
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
#: What says where an operation stands, and nothing of what it costs.
PLACE = frozenset({"name", "reads", "writes", "node", "result"})
#: So many answers are remembered of one shape; a slider that is dragged for hours asks for no more.
_MOST = 4096


class OfShape(Generic[T]):
    """A property that follows from an operation's shape alone: computed once for all operations of that shape.

    The operation then has it as an attribute of its own, which is found several times faster.
    """

    def __init__(self, compute: Callable[[Any], T]) -> None:
        self._compute, self._name, self.__doc__ = compute, compute.__name__, compute.__doc__

    @overload
    def __get__(self, layer: None, owner: type) -> OfShape[T]: ...
    @overload
    def __get__(self, layer: object, owner: type) -> T: ...
    def __get__(self, layer: Any, owner: type) -> T | OfShape[T]:
        if layer is None:
            return self
        memo, name = layer.memo, self._name
        if name not in memo:
            memo[name] = self._compute(layer)
        found: T = memo[name]
        layer.__dict__[name] = found
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
            for name in _BY_BITS:
                new.__dict__.pop(name, None)
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

    @OfShape
    def c_in(self) -> int:
        """Input channels or features."""
        return self.input[self._channel_axis]

    @OfShape
    def c_out(self) -> int:
        """Output channels or features."""
        return self.output[self._channel_axis]

    @OfShape
    def macs(self) -> int:
        """Multiply-accumulates for one input."""
        if self.kind == "conv":
            return prod(self.output) * (self.c_in // self.groups) * prod(self.kernel)
        if self.kind == "conv_transpose":
            return prod(self.input) * (self.c_out // self.groups) * prod(self.kernel)
        if self.kind == "linear":
            return prod(self.output) * self.input[-1]
        return self.work

    @OfShape
    def params(self) -> int:
        """Weights and biases that are counted here: 0 where an earlier operation has the same ones."""
        if not self.weights and not self.module:
            return 0  # a filter that nobody learnt, or one that is computed from the data
        return 0 if self.shared else self.weight_elements - self.tied

    @OfShape
    def weight_elements(self) -> int:
        """Weights and biases that are read."""
        if self.kind in CONVOLUTIONS:
            return self.c_in * self.c_out // self.groups * prod(self.kernel) + self.c_out * self.bias
        if self.kind == "linear":
            return self.input[-1] * self.output[-1] + self.output[-1] * self.bias
        return self.weights

    @OfShape
    def memory_access_bytes(self) -> int:
        """What the runtime moves: as `unfused_memory_access_bytes`, but nothing for what is folded away.

        A residual sum that is folded into a convolution still reads the other summand.
        """
        if not self.fused or (self.kind == "add" and self.bits < 32):  # integer kernels do not take sums in
            return self.unfused_memory_access_bytes
        return self.others * self.bits // 8 if self.kind == "add" else 0

    @OfShape
    def unfused_memory_access_bytes(self) -> int:
        """Elements read and written once each, plus the weights, times the element size.

        For a 1x1 convolution h*w*(c_in + c_out) + c_in*c_out, as in ShuffleNetV2 (Ma et al. 2018, eq. 1).
        """
        if self.kind == "reshape":
            return 0
        if self.kind == "copy":  # what is not taken is not read
            return 2 * prod(self.output) * self.bits // 8
        return (prod(self.input) + self.others + prod(self.output) + self.weight_elements) * self.bits // 8

    @property
    def _channel_axis(self) -> int:
        """Channels come first in a feature map, before the kernel's axes, and last for a linear layer."""
        if self.kind == "linear":
            return -1
        return -1 - len(self.kernel) if self.kind in CONVOLUTIONS else 0

    @OfShape
    def costs(self) -> tuple[int, int, int]:
        """MACs, parameters and bytes of memory access: what adds up over layers."""
        return self.macs, self.params, self.memory_access_bytes

    @OfShape
    def input_bytes(self) -> int:
        """Of the first input."""
        return prod(self.input) * self.bits // 8

    @OfShape
    def output_bytes(self) -> int:
        """Of the output."""
        return prod(self.output) * self.bits // 8


def _new(_: Layer) -> dict[Hashable, Any]:
    return {}


#: What a layer is made with.
FIELDS = frozenset(one.name for one in fields(Layer)) - {"memo"}
#: What follows from a shape at any precision, and what an operation must not hand on to itself at another one.
_COUNTS = frozenset({"c_in", "c_out", "weight_elements", "macs", "params"})
_BY_BITS = {"versions", *(name for name, one in vars(Layer).items() if isinstance(one, OfShape))} - _COUNTS


def interned(layers: Iterable[Layer]) -> tuple[Layer, ...]:
    """The layers; those of one shape share what is remembered of it."""
    memos: dict[Hashable, dict[Hashable, Any]] = {}
    found = tuple(layers)
    names = sorted(FIELDS - PLACE - {"module"})
    for layer in found:
        shape = (bool(layer.module), *(getattr(layer, name) for name in names))
        layer.__dict__["memo"] = memos.setdefault(shape, layer.memo)
    return found
