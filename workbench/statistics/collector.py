"""One pass of inputs through a network: what its layers read or give is handed on as it passes, and nothing is kept.

Every statistic here is a reducer, a function of the tensor that a layer reads; several share a pass. Hooks elsewhere
follow what is no statistic: `cost.trace` which module runs, `onnx_file` in which order weights are used.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from workbench.data import Split
from workbench.data.batches import as_split, batches
from workbench.modules.calling import Inputs, call

if TYPE_CHECKING:
    from workbench.cost.network import Network
    from workbench.jobs import Reporter

Tensor = torch.Tensor
#: Takes the tensor (N, ...) that a layer reads.
Reducer = Callable[[Tensor], None]
#: Takes what a layer gives, and returns what the network is to go on with.
Change = Callable[[Tensor], Tensor]

#: Bytes of activations that a batch may have alive at once. More than caches hold is slower, an input (ResNet-50 at
#: 224 x 224, one thread: 83 ms in batches of 4, 140 ms in batches of 32).
LIVE_BYTES = 48 << 20
#: Inputs in a batch, at most.
MOST = 100
#: What a pass over calibration images is called.
READING = "Reading calibration images"


@dataclass(frozen=True)
class Feed:
    """A split's inputs for as many passes as are wanted, in batches of a size that keeps memory bounded."""

    inputs: Split
    size: int = MOST

    @classmethod
    def of(cls, inputs: Any, network: Network) -> Feed:
        """Of a split or (N, ...): batches whose activations in a network stay within `LIVE_BYTES`, of one at least."""
        return cls(as_split(inputs), fitting(network.totals.peak_activation_bytes))

    def __len__(self) -> int:
        return len(self.inputs)

    def __iter__(self) -> Iterator[Inputs]:
        """Batches in order, in memory of their own."""
        return batches(self.inputs, self.size)

    def reported(self, report: Reporter, stage: str) -> Iterator[Inputs]:
        """The batches, telling before each how far this pass has come. Raises: `Cancelled`."""
        for batch, _ in self.labelled(report, stage):
            yield batch

    def labelled(self, report: Reporter, stage: str) -> Iterator[tuple[Inputs, Any]]:
        """The same with their labels, None where there are none."""
        through = report.through(stage, len(self))
        for index, pair in enumerate(self.inputs.batches(self.size)):
            through(index * self.size)
            yield pair


def fitting(bytes_each: float) -> int:
    """How many inputs a batch holds, of whose activations so many bytes are alive at once."""
    return int(max(1, min(MOST, LIVE_BYTES // max(1, bytes_each))))


def private(module: nn.Module) -> nn.Module:
    """A copy in evaluation mode that shares its weights' memory; hooks, modes and buffers are its own.

    No gradients of the weights are taken in it.
    """
    shared: dict[int, Any] = {id(one): nn.Parameter(one.detach(), requires_grad=False) for one in module.parameters()}
    return copy.deepcopy(module, shared).eval()


@torch.no_grad()
def observe(module: nn.Module, reducers: Mapping[str, Reducer], feed: Feed, report: Reporter, stage: str) -> None:
    """Run a network over inputs once, and give every named layer's input to its reducer.

    `module` is the caller's own copy (see `private`). A layer that runs twice is seen twice. A batch ends
    with the last of the layers: what follows is not computed. Raises: `Cancelled`, and what reducers raise.
    """
    if not reducers:
        return
    calls = _Calls()
    with hooked(module, reads={name: calls.counting(one) for name, one in reducers.items()}):
        for batch in feed.reported(report, stage):
            calls.run(module, batch)


class Reads:
    """What one layer reads of a batch, where it is wanted beside another network's: a tensor for each of its runs."""

    def __init__(self, module: nn.Module, name: str) -> None:
        self.module, self.name, self.calls = module, name, _Calls()

    @torch.no_grad()
    def of(self, batch: Inputs) -> list[Tensor]:
        """Run the network on a batch, as far as the layer."""
        found: list[Tensor] = []
        with hooked(self.module, reads={self.name: self.calls.counting(lambda x: found.append(x.clone()))}):
            self.calls.run(self.module, batch)
        return found


@contextlib.contextmanager
def hooked(
    module: nn.Module, reads: Mapping[str, Reducer] | None = None, gives: Mapping[str, Change] | None = None
) -> Iterator[None]:
    """Listen to the inputs and change the outputs of named layers within the block."""
    with contextlib.ExitStack() as stack:
        for name, reduce in (reads or {}).items():
            hook = module.get_submodule(name).register_forward_pre_hook(_pre(reduce), with_kwargs=True)
            stack.callback(hook.remove)
        for name, change in (gives or {}).items():
            hook = module.get_submodule(name).register_forward_hook(_post(change))
            stack.callback(hook.remove)
        yield


def _pre(reduce: Reducer) -> Callable[..., None]:
    def hook(_: nn.Module, args: tuple[Any, ...], named: Mapping[str, Any]) -> None:
        reduce(next(iter((*args, *named.values()))))

    return hook


def _post(change: Change) -> Callable[..., Any]:
    return lambda _, __, given: change(given) if isinstance(given, Tensor) else given


class _Enough(Exception):
    """No error: what follows the last layer need not be computed."""


class _Calls:
    """Ends a run at the call that was the last of the first run's."""

    def __init__(self) -> None:
        self.count, self.last = 0, 0

    def counting(self, reduce: Reducer) -> Reducer:
        """The reducer, counted."""

        def counted(x: Tensor) -> None:
            self.count += 1
            reduce(x)
            if self.count == self.last:
                raise _Enough

        return counted

    def run(self, module: nn.Module, batch: Inputs) -> None:
        """Run a batch as far as is wanted."""
        self.count = 0
        with contextlib.suppress(_Enough):
            call(module, batch)
        self.last = self.last or self.count
