"""Calls that torch takes apart before a recorder of operators sees them: recurrent and linear layers."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor
from torch.overrides import TorchFunctionMode

from workbench.cost.kinds import CELLS, RECURRENT


class Recorder(Protocol):
    """What records operators."""

    asleep: bool

    def fill(self, args: Any) -> None:
        """Take zeros for data."""

    def in_order(self, tensor: Tensor) -> Tensor:
        """The same data in contiguous memory."""
        ...

    def recurrent(self, op: str, args: Any, out: Any) -> None:
        """Record one layer, however many steps it runs."""


class Whole(TorchFunctionMode):
    """Sees layers before torch takes them apart: recurrent ones into steps, linear ones into product and bias."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self.recorder = recorder

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "").partition(".")[0]
        if name in CELLS:
            self.recorder.fill(args)
        if name == "linear" and not self.recorder.asleep:  # with a bias one operation only where memory is in order
            args = (self.recorder.in_order(args[0]), *args[1:])
        if name not in RECURRENT or self.recorder.asleep:
            return func(*args, **(kwargs or {}))
        self.recorder.asleep = True
        try:
            out = func(*args, **(kwargs or {}))
        finally:
            self.recorder.asleep = False
        self.recorder.recurrent(name, args, out)
        return out
