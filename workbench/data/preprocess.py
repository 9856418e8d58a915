"""`Preprocess`: how pictures become what a network reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from workbench.errors import BadValue, shown

INTERPOLATIONS = ("bilinear", "bicubic", "nearest")
ORDERS, LAYOUTS = ("RGB", "BGR"), ("NCHW", "NHWC")
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocess:
    """How pixels become inputs: `(pixel / 255 * range - mean) / std`, at one size.

    `size`: (height, width); pictures are scaled until they cover it, and cut at the centre. `crop`: the share of the
    scaled picture's side that is kept. `interpolation`: one of `INTERPOLATIONS`. `mean`, `std`: one number a channel,
    in the order that the network takes, or one for all. `order`: RGB or BGR. `layout`: NCHW, or NHWC with the channels
    last. `range`: what the lightest pixel becomes before `mean` and `std`, 1 or 255.

    Raises: `BadValue` with the offending value, from `of`.
    """

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    size: tuple[int, int] | None = None
    crop: float = 1.0
    interpolation: str = "bilinear"
    order: str = "RGB"
    layout: str = "NCHW"
    range: float = 1.0

    @classmethod
    def of(cls, mean: Any = (), std: Any = (), size: Any = None, **other: Any) -> Preprocess:
        """From numbers, lists, arrays or tensors; `other` are the other fields by their names."""
        wrong = next((name for name in other if name not in {one.name for one in fields(cls)}), None)
        if wrong is not None:
            names = ", ".join(one.name for one in fields(cls))
            raise BadValue(f"preprocess has no {wrong!r}. Known: {names}.")
        for name, allowed in (("interpolation", INTERPOLATIONS), ("order", ORDERS), ("layout", LAYOUTS)):
            if name in other and other[name] not in allowed:
                raise BadValue(f"{name}={shown(other[name])}: give one of {', '.join(allowed)}.")
        for name, most in (("crop", 1.0), ("range", 65535.0)):
            if name in other and not (_is_number(other[name]) and 0 < other[name] <= most):
                raise BadValue(f"{name}={shown(other[name])}: give a number above 0, at most {most:g}.")
        return cls(_numbers("mean", mean), _numbers("std", std, positive=True), _size(size), **other)

    @classmethod
    def read(cls, given: Any) -> Preprocess:
        """From itself, or a mapping of its fields. Raises: `BadValue` for anything else."""
        if isinstance(given, Preprocess):
            return given
        if isinstance(given, Mapping) and all(isinstance(name, str) for name in given):
            return cls.of(**given)
        raise BadValue(f"preprocess={shown(given)}: give a workbench.data.Preprocess, or a dictionary of its fields.")

    def __str__(self) -> str:
        parts = ["pixels from 0 to " + f"{self.range:g}"]
        if self.size is not None:
            kept = "" if self.crop == 1 else f", of which {self.crop:.0%} is kept"
            parts.insert(0, f"{self.size[0]} x {self.size[1]} cut from the centre ({self.interpolation}{kept})")
        if self.mean or self.std:
            parts.append(f"less {_said(self.mean or (0.0,))}, over {_said(self.std or (1.0,))}")
        usual = Preprocess()
        odd = [text for text, other in ((self.order, usual.order), (self.layout, usual.layout)) if text != other]
        return "; ".join([*parts, ", ".join(odd)] if odd else parts) + "."


#: Pixels between 0 and 1, as they come.
PLAIN = Preprocess()


def _said(values: tuple[float, ...]) -> str:
    return "/".join(f"{one:.4g}" for one in values)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _numbers(name: str, value: Any, positive: bool = False) -> tuple[float, ...]:
    """One number a channel, or one for all."""
    try:
        found = tuple(float(one) for one in np.asarray(value, np.float64).reshape(-1))
    except (TypeError, ValueError, RuntimeError):
        found = (np.nan,)
    if any(not np.isfinite(one) or (positive and one <= 0) for one in found):
        kind = "positive numbers" if positive else "numbers"
        raise BadValue(f"{name}={shown(value)}: give {kind}, one a channel or one for all.")
    return found


def _size(value: Any) -> tuple[int, int] | None:
    if value is None:
        return None
    found = value if isinstance(value, (tuple, list)) else (value, value)
    if len(found) != 2 or not all(isinstance(one, int) and not isinstance(one, bool) and one > 0 for one in found):
        raise BadValue(f"size={shown(value)}: give one positive whole number, or (height, width).")
    return found[0], found[1]
