"""Operations that move numbers and compute nothing: labels go through them as numbers do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch

from workbench.pruning.axes import Ties, Units

Tensor = torch.Tensor
Run = Callable[[Sequence[Tensor]], list[Tensor]]

#: In the place of a unit: a position without one, and a number that comes from no input, such as a padding's.
_BARE, _BLANK = -1, -2


class Runnable(Protocol):
    """A call of an operator, which can be run on other tensors."""

    @property
    def signature(self) -> str:
        """What tells it from other calls but for the values of its tensors."""

    def run(self, floats: Sequence[Tensor]) -> list[Tensor]:
        """Its results for other tensors."""


def moved(
    call: Runnable, tensors: Sequence[Tensor], units: Sequence[Units | None], how: tuple[int, dict[Any, Any]]
) -> list[Units] | None:
    """The unit of each number of an operation's results, whose inputs have `units` along an axis.

    `how` are that axis and what is known of calls like this one. Results have a size of 1 along axes along which all
    is the same. None where the operation computes anything.
    """
    axis, memo = how
    distinct, places = np.unique(np.concatenate([one for one in units if one is not None]), return_inverse=True)
    ends = np.cumsum([0 if one is None else len(one) for one in units])[:-1]
    parts = np.split(places, ends)
    order = [None if one is None else part for one, part in zip(units, parts, strict=True)]
    key = (call.signature, axis, tuple(None if one is None else one.tobytes() for one in order))
    if key not in memo:
        memo[key] = _numbered(call.run, tensors, order, axis)
    found = memo[key]
    if found is None:
        return None
    names = np.concatenate([distinct, [_BLANK, _BARE]])  # -2 and -1 stay what they are
    return [names[one] for one in found]


def _numbered(run: Run, tensors: Sequence[Tensor], units: Sequence[Units | None], axis: int) -> list[Units] | None:
    """The same for units counted from 0: run on these numbers, and on others, which shows whether it computes."""
    most = 3 + max((int(one.max()) for one in units if one is not None), default=0)
    code = torch.rand(most, generator=torch.Generator().manual_seed(0)) + 1
    code[0] = 0
    first, second = (_run(run, _labelled(tensors, units, axis, one)) for one in (torch.arange(most).float(), code))
    found = []
    for one, other in zip(first, second, strict=True):
        lean, check = _lean(one), _lean(other)
        index = torch.where(lean.isfinite(), lean, 0).long().clamp(0, most - 1)
        if not torch.equal(code[index], torch.where(lean.isfinite(), check.float(), 0)):
            return None
        found.append(_collapsed(index.numpy() - 2))
    return found


def _collapsed(found: Units) -> Units:
    """Without axes along which all is the same."""
    for axis in range(found.ndim):
        first = np.take(found, [0], axis)
        if found.shape[axis] > 1 and (found == first).all():
            found = first
    return found


def _labelled(tensors: Sequence[Tensor], units: Sequence[Units | None], axis: int, code: Tensor) -> list[Tensor]:
    """Numbers for units, spread over the other axes without memory of their own."""
    found = []
    for tensor, own in zip(tensors, units, strict=True):
        line = code[1] if own is None else code[torch.from_numpy(own) + 2]
        shape = [-1 if place == axis and own is not None else 1 for place in range(tensor.dim())]
        found.append(line.reshape(shape).expand(tensor.shape))
    return found


def _run(run: Run, tensors: list[Tensor]) -> list[Tensor]:
    try:
        return run(tensors)
    except RuntimeError:  # a view of what lies in memory in another order
        return run([one.contiguous() for one in tensors])


def _lean(found: Tensor) -> Tensor:
    """A result without what is there again and again."""
    for axis, stride in enumerate(found.stride()):
        if stride == 0 and found.shape[axis] > 1:
            found = found.narrow(axis, 0, 1)
    return found


def placed(found: Units, ties: Ties, prefer: int) -> tuple[int, Units, int] | None:
    """The axis along which channels are in a result with these units, their units, and among how many axes it chose.

    Where units vary along several axes, those that meet at one position of the axis chosen are tied: `prefer` 0 is the
    axis that leaves the most units, 1 the next. None where they vary along none.
    """
    varying = [axis for axis in range(found.ndim) if found.shape[axis] > 1 and _varies(found, axis)]
    if not varying:
        return None
    lean: Units = found[tuple(slice(None) if axis in varying else slice(0, 1) for axis in range(found.ndim))]
    lean = np.where(lean >= 0, ties.roots(np.maximum(lean, 0)), lean)
    pure = [axis for axis in varying if _pure(lean, axis)]
    if pure:
        axis = max(pure, key=lambda one: len(np.unique(_columns(lean, one)[:, 0])))
        return axis, _settled(_columns(lean, axis), ties), 1
    ranked = sorted(varying, key=lambda axis: -_classes(_columns(lean, axis)))
    axis = ranked[min(prefer, len(ranked) - 1)]
    return axis, _settled(_columns(lean, axis), ties), len(ranked)


def _varies(found: Units, axis: int) -> bool:
    first = np.take(found, [0], axis)
    return bool(((found != first) & (found != _BLANK) & (first != _BLANK)).any()) or bool(
        ((found == _BLANK) != (first == _BLANK)).any()
    )


def _columns(found: Units, axis: int) -> Units:
    """(positions of the axis, everything else), without columns that are there twice."""
    return np.moveaxis(found, axis, 0).reshape(found.shape[axis], -1)


def _pure(found: Units, axis: int) -> bool:
    """Whether each position of an axis holds one unit, or numbers from no input."""
    columns = _columns(found, axis)
    low = np.where(columns == _BLANK, np.iinfo(np.int64).max, columns).min(1)
    high = columns.max(1)
    units = high[high != _BLANK]
    return bool(((low == high) | (high == _BLANK)).all()) and len(np.unique(units)) > 1


def _classes(columns: Units) -> int:
    """How many units are left when all that meet in a row are tied."""
    ties = Ties()
    rows = ties.fresh(len(columns))
    labels_, places = np.unique(columns, return_inverse=True)
    own = ties.fresh(len(labels_))
    ties.tie(np.broadcast_to(rows[:, None], columns.shape).reshape(-1), own[places].reshape(-1))
    return len(np.unique(ties.roots(rows)))


def _settled(columns: Units, ties: Ties) -> Units:
    """One unit for each row; those that meet in it are tied, and those that meet what has none cannot go."""
    first = columns.max(1)
    several = columns != first[:, None]
    tied = several & (columns >= 0)
    if tied.any():
        rows = np.broadcast_to(first[:, None], columns.shape)
        ties.tie(rows[tied], columns[tied])
    bare = (columns == _BARE).any(1)
    units: Units = first.copy()
    missing = first < 0
    units[missing] = ties.fresh(int(missing.sum()))
    ties.freeze(units[bare], "they are joined with numbers that are no channels")
    return units
