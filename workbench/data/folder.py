"""Folders of pictures: one folder a class, below one folder a split or without."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from workbench.data.dataset import SPLITS
from workbench.data.pixels import GREY, Form, as_inputs, as_tensor, resize
from workbench.data.source import Labels, Source, check_lengths
from workbench.errors import BadFile, BadValue
from workbench.files.content import known_digest

if TYPE_CHECKING:
    from hashlib import _Hash

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"})
#: Other names that a split's folder, or its key in a mapping, may have.
ALIASES = {"val": "validation", "valid": "validation"}
#: Where nothing says which pictures are for the test: every fifth of each class.
TEST_EVERY = 5

#: Paths (N,) and the names of their classes (N,), which may be missing.
Listed = tuple["npt.NDArray[Any]", "npt.NDArray[Any] | None"]


def list_folder(root: Path) -> tuple[dict[str, Listed], str]:
    """The pictures of every split, and a sentence where the split was made here; "" where the folders say it.

    `root` holds `<split>/<class>/*.png`, `<class>/*.png`, or pictures alone, which then have no labels; a split may
    hold pictures alone too. Raises: `BadFile` for a folder that holds neither.
    """
    below = _folders(root)
    names = {ALIASES.get(one.name, one.name): one for one in below}
    if below and set(names) <= set(SPLITS):
        return {split: _classes(folder) for split, folder in names.items()}, ""
    paths, labels = _classes(root)
    if labels is None:
        return {"test": (paths, None)}, ""
    test = np.zeros(len(paths), dtype=bool)
    for name in np.unique(labels):
        test[np.flatnonzero(labels == name)[TEST_EVERY - 1 :: TEST_EVERY]] = True
    if not test.any():
        raise BadFile(
            f"{root} has fewer than {TEST_EVERY} pictures in every class, too few to set some aside for the test. "
            "Make folders train/ and test/ with the classes below them."
        )
    said = f"{root.name}/ has no folder test/, so every {TEST_EVERY}th picture of each class is the test split."
    return {"train": (paths[~test], labels[~test]), "test": (paths[test], labels[test])}, said


def _folders(root: Path) -> list[Path]:
    return sorted(one for one in root.iterdir() if one.is_dir() and not one.name.startswith("."))


def _pictures(files: Sequence[Path]) -> list[Path]:
    return sorted(one for one in files if one.suffix.lower() in SUFFIXES and not one.name.startswith("."))


def _classes(folder: Path) -> Listed:
    """The pictures of one split with the names of the folders that they are in."""
    found = [(path, one.name) for one in _folders(folder) for path in _pictures(list(one.rglob("*")))]
    alone = _pictures(list(folder.iterdir()))
    if not found and not alone:
        raise BadFile(
            f"{folder} holds no pictures ({', '.join(sorted(SUFFIXES))}), neither in folders of classes nor by "
            "themselves. Give folder/<class>/<picture>, or folder/<split>/<class>/<picture>."
        )
    if found and alone:
        raise BadFile(f"{folder} holds folders of classes and, beside them, {alone[0].name}. Move it into a class.")
    paths = np.array([path for path, _ in found] or alone, dtype=object)
    return paths, np.array([name for _, name in found]) if found else None


def survey(found: dict[str, Listed], form: Form) -> tuple[bool, tuple[int, int]]:
    """Whether any picture has colours, and the size (height, width) that all will have; reads their heads alone.

    Raises: `BadFile` for a file that is no picture, `BadValue` for several sizes without `form.size`.
    """
    colour, first = False, None
    for path in (path for paths, _ in found.values() for path in paths):
        with _opened(path) as picture, _told(path):
            colour |= picture.mode not in GREY and not picture.mode.startswith("I;16")
            size = _upright(picture)
        first = first or (path, size)
        if form.size is None and size != first[1]:
            raise BadValue(
                f"Pictures have several sizes: {first[0].name} is {_said(first[1])} and {path.name} {_said(size)} "
                "(height x width). Give wb.data size=(height, width): each is scaled until it covers that size, and "
                "cut at its centre."
            )
    assert first is not None  # `list_folder` refuses a folder without pictures
    return colour, form.size or first[1]


class Pictures(Source):
    """Pictures in files, decoded when they are asked for, in colour or grey and of a size as `look` says."""

    def __init__(
        self, split: str, paths: npt.NDArray[Any], labels: Labels | None, look: tuple[bool, tuple[int, int]], form: Form
    ) -> None:
        check_lengths(split, len(paths), len(paths) if labels is None else len(labels))
        self.split, self.paths, self._labels, self.form = split, paths, labels, form
        self.colour, self.size = look

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def labels(self) -> Labels | None:
        """Those of the folders."""
        return self._labels

    def read(self, places: torch.Tensor) -> torch.Tensor:
        """As `Source.read`. Raises: `BadFile` for one that cannot be read."""
        return as_inputs(self.split, self.pixels(places), self.form)

    def pixels(self, places: torch.Tensor) -> torch.Tensor:
        """The pixels at places (n,), uint8 (n, C, H, W)."""
        pixels = torch.empty(len(places), 3 if self.colour else 1, *self.size, dtype=torch.uint8)
        for index, path in enumerate(self.paths[places.numpy()]):
            with _opened(path) as picture:
                found = _decoded(path, picture)
            found = found if tuple(found.shape[-2:]) == self.size else resize(found[None], self.size)[0]
            pixels[index] = found  # one channel fills three
        return pixels

    def feed(self, digest: _Hash, places: torch.Tensor) -> None:
        """How pictures become inputs, and the content of each file."""
        digest.update(repr((self.colour, self.size, self.form)).encode())
        for path in self.paths[places.numpy()]:
            digest.update(known_digest(path).encode())


def _opened(path: Path) -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise BadFile(
            f"Reading pictures such as {path.name} needs Pillow, which is not installed: pip install "
            '"nn-workbench[images]". Or give wb.data arrays: an .npz, or {"test": (images, labels)}.'
        ) from error
    with _told(path):
        return Image.open(path)


def _decoded(path: Path, picture: Any) -> torch.Tensor:
    """Pixels (C, H, W) as they are to be looked at: cameras note how they were held."""
    from PIL import ImageOps

    with _told(path):
        return as_tensor(ImageOps.exif_transpose(picture), str(path), batch=False)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Whatever a decoder raises for a damaged file as a `BadFile` that names it."""
    try:
        yield
    except Exception as error:  # decoders raise anything
        said = f"{path} is not a readable picture: {error}. Repair it, or take it out of the folder."
        raise BadFile(said) from error


def _upright(picture: Any) -> tuple[int, int]:
    """Height and width as they are to be looked at, from the head of the file."""
    width, height = picture.size
    told = "exif" in picture.info or picture.format not in {"PNG", "GIF", "BMP"}  # these decode all to look for it
    lying = told and picture.getexif().get(0x0112, 1) in {5, 6, 7, 8}
    return (width, height) if lying else (height, width)


def _said(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
