"""Operations that move numbers and compute nothing: labels go through them as numbers do."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from workbench.pruning.axes import Ties, Units

Tensor = torch.Tensor
Run = Callable[[Sequence[Tensor]], list[Tensor]]

#: The first number that stands for a place; smaller ones come from elsewhere, such as the zeros of a padding.
_FIRST = 1 << 20
#: Places that a float32 tells apart.
_LAST = 1 << 24
#: In the place of a unit: a position without one, and a number that comes from no input.
_BARE, _BLANK = -1, -2


def moved(run: Run, tensors: Sequence[Tensor]) -> list[Tensor] | None:
    """Where each number of an operation's results comes from: an index into its inputs, joined; -1 for a constant.

    Found by running it on numbers that say where they are, and once more on noise. None where it computes anything.
    """
    total = sum(tensor.numel() for tensor in tensors)
    if not total or total + _FIRST > _LAST:
        return None
    places, noise = torch.arange(total) + _FIRST, torch.randn(total)
    try:
        first, second = run(_parts(places.float(), tensors)), run(_parts(noise, tensors))
    except Exception:  # noqa: BLE001  # torch refuses numbers of other types in its own ways
        return None
    found = []
    for one, other in zip(first, second, strict=True):
        index = (one.double() - _FIRST).long()
        index = torch.where((index < 0) | (index >= total), -1, index)
        expected = torch.where(index < 0, one, noise[index.clamp_min(0)].to(one.dtype))
        if one.is_floating_point() and not torch.equal(expected, other):
            return None
        found.append(index)
    return found


def _parts(joined: Tensor, tensors: Sequence[Tensor]) -> list[Tensor]:
    parts = joined.split([tensor.numel() for tensor in tensors])
    return [part.reshape(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]


def labels(index: Tensor, tensors: Sequence[Tensor], axes: Sequence[Units | None], axis: int) -> Units:
    """The unit of each number of a result, where the inputs have `axes` along their axis `axis`."""
    flat = []
    for tensor, units in zip(tensors, axes, strict=True):
        shape = tuple(tensor.shape)
        if units is None:
            flat.append(np.full(tensor.numel(), _BARE, dtype=np.int64))
        else:
            wide = units.reshape([-1 if place == axis else 1 for place in range(len(shape))])
            flat.append(np.broadcast_to(wide, shape).reshape(-1))
    flat.append(np.array([_BLANK], dtype=np.int64))
    return np.concatenate(flat)[index.numpy()]  # the last, -1, is what comes from no input


def placed(found: Units, ties: Ties, prefer: int) -> tuple[int, Units, int] | None:
    """The axis along which channels are in a result with these units, their units, and among how many axes it chose.

    Where units vary along several axes, those that meet at one position of the axis chosen are tied: `prefer` 0 is the
    axis that leaves the most units, 1 the next. None where they vary along none.
    """
    varying = [axis for axis in range(found.ndim) if found.shape[axis] > 1 and _varies(found, axis)]
    if not varying:
        return None
    lean = found[tuple(slice(None) if axis in varying else slice(0, 1) for axis in range(found.ndim))]
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
    units = first.copy()
    missing = first < 0
    units[missing] = ties.fresh(int(missing.sum()))
    ties.freeze(units[bare], "they are joined with numbers that are no channels")
    return units
