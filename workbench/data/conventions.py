"""How a network of torchvision or timm takes pictures, as its weights say."""

from __future__ import annotations

from typing import Any

from workbench.data.preprocess import Preprocess
from workbench.errors import BadValue


def preprocess_of(model: Any) -> Preprocess:
    """From a module with timm's `pretrained_cfg`, or a model that was loaded by torchvision's or timm's name.

    Raises: `BadValue` where nothing says it.
    """
    for known in (getattr(model, "pretrained_cfg", None), getattr(model, "default_cfg", None)):
        if known is not None:
            return _of_timm(known)
    source, _, name = str(getattr(model, "source", "")).partition(":")
    try:
        if source == "timm":
            import timm

            return _of_timm(timm.get_pretrained_cfg(name))
        if source == "torchvision":
            from torchvision import models

            return _of_torchvision(models.get_model_weights(name).DEFAULT.transforms())
    except (ImportError, AttributeError, ValueError, KeyError) as error:
        raise BadValue(f"What {source}:{name} takes is not known here: {error}. Give preprocess=.") from error
    raise BadValue(
        f"Nothing says how {getattr(model, 'name', type(model).__name__)} takes pictures: that is known of networks by "
        "torchvision's and timm's names. Give preprocess=, or mean=, std= and size=."
    )


def _of_timm(cfg: Any) -> Preprocess:
    """From a configuration of timm's, a mapping or an object."""

    def value(name: str, default: Any) -> Any:
        found = cfg.get(name) if isinstance(cfg, dict) else getattr(cfg, name, None)
        return default if found is None else found

    kind = str(value("interpolation", "bilinear"))
    return Preprocess.of(
        value("mean", ()),
        value("std", ()),
        tuple(value("input_size", (3, 224, 224))[-2:]),
        crop=float(value("crop_pct", 1.0)),
        interpolation=kind if kind in {"bilinear", "bicubic", "nearest"} else "bilinear",
    )


def _of_torchvision(transforms: Any) -> Preprocess:
    """From the transforms that come with torchvision's weights: the shorter side is scaled, then the centre is cut."""
    (cut,), (scaled,) = transforms.crop_size, transforms.resize_size
    kind = transforms.interpolation.value
    return Preprocess.of(transforms.mean, transforms.std, cut, crop=min(1.0, cut / scaled), interpolation=kind)
