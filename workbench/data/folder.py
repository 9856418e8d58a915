"""Folders of pictures: one folder a class, or pictures and masks, below one folder a split or without."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from workbench.data.dataset import SPLITS
from workbench.data.listing import UNDIVIDED, Found, Listing
from workbench.data.pictures import Paths
from workbench.errors import BadFile

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"})
#: Other names that a split's folder, or its key in a mapping, may have.
ALIASES = {"val": "validation", "valid": "validation"}
#: What the folders of pictures and of their masks are called.
IMAGES, MASKS = ("images", "imgs"), ("masks", "labels", "annotations")


def list_folder(root: Path) -> Found:
    """The pictures of every split, or of one that is undivided.

    `root` holds `<split>/<class>/*.png`, `<class>/*.png`, or pictures alone, which then have no labels; a split may
    hold pictures alone too. Where it or a split holds `images/` and `masks/`, each picture's mask bears its name.
    Raises: `BadFile` for a folder that holds neither.
    """
    below = _folders(root)
    names = {split_of(one.name): one for one in below}
    if below and set(names) <= set(SPLITS):
        return Found({split: _listing(folder) for split, folder in names.items()})
    return Found({UNDIVIDED: _listing(root)})


def split_of(name: str) -> str:
    """The split that a folder or a key stands for."""
    return ALIASES.get(name, name)


def pictures_in(folder: Path) -> list[Path]:
    """The pictures of a folder, in the order of their names."""
    return _pictures(list(folder.iterdir()))


def _folders(root: Path) -> list[Path]:
    return sorted(one for one in root.iterdir() if one.is_dir() and not one.name.startswith("."))


def _pictures(files: Sequence[Path]) -> list[Path]:
    return sorted(one for one in files if one.suffix.lower() in SUFFIXES and not one.name.startswith("."))


def _listing(folder: Path) -> Listing:
    """The pictures of one split with their masks, or the names of the folders that they are in."""
    below = {one.name: one for one in _folders(folder)}
    images, masks = (next((below[name] for name in names if name in below), None) for names in (IMAGES, MASKS))
    if images is not None and masks is not None:
        return _masked(images, masks)
    if images is not None and len(below) == 1:
        folder, below = images, {}
    found = [(path, one.name) for one in below.values() for path in _pictures(list(one.rglob("*")))]
    alone = pictures_in(folder)
    if not found and not alone:
        raise BadFile(
            f"{folder} holds no pictures ({', '.join(sorted(SUFFIXES))}), neither in folders of classes nor by "
            "themselves. Give folder/<class>/<picture>, or folder/<split>/<class>/<picture>."
        )
    if found and alone:
        raise BadFile(f"{folder} holds folders of classes and, beside them, {alone[0].name}. Move it into a class.")
    files = Paths([path for path, _ in found] or alone)
    return Listing(files, np.array([name for _, name in found]) if found else None)


def _masked(images: Path, masks: Path) -> Listing:
    """Pictures with a mask of the same stem each. Raises: `BadFile` for one without."""
    files, of = pictures_in(images), {one.stem: one for one in pictures_in(masks)}
    lacking = [one.name for one in files if one.stem not in of]
    if lacking or not files:
        said = f"{lacking[0]} (and {len(lacking) - 1} others)" if len(lacking) > 1 else "".join(lacking) or "nothing"
        raise BadFile(f"{images} holds {said}, and {masks} no mask of the same name. Give each picture its mask.")
    return Listing(Paths(files), masks=Paths([of[one.stem] for one in files]))
