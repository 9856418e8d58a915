"""Work that does not depend on what the caller has set torch to: its default device, inference mode, autocast."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

from workbench.errors import BadValue

P = ParamSpec("P")
R = TypeVar("R")


@contextlib.contextmanager
def neutral() -> Iterator[None]:
    """Torch as it is when it starts, on this thread; afterwards as the caller had it.

    Raises: `BadValue` for another default type of numbers, which torch keeps for all threads together.
    """
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    if torch.get_default_dtype() != torch.float32:
        raise BadValue(
            f"torch's default type is {torch.get_default_dtype()}, and the workbench computes in float32. Set it back: "
            "torch.set_default_dtype(torch.float32). Tensors and modules that you have keep their types."
        )
    with contextlib.ExitStack() as stack:
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
        if torch.is_autocast_enabled("cpu"):
            stack.enter_context(torch.autocast("cpu", enabled=False))
        yield


def neutrally(function: Callable[P, R]) -> Callable[P, R]:
    """The same function, which runs under `neutral`."""

    @functools.wraps(function)
    def inner(*args: P.args, **kwargs: P.kwargs) -> R:
        with neutral():
            return function(*args, **kwargs)

    return inner
