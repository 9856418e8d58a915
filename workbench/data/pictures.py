"""Pictures in files or in cells of tables, decoded when they are asked for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from workbench.data.pixels import GREY, as_inputs, as_tensor, resize
from workbench.data.preprocess import Preprocess
from workbench.data.source import Labels, Source, check_lengths
from workbench.data.stored import Stored
from workbench.errors import BadFile, BadValue
from workbench.files.content import known_digest

if TYPE_CHECKING:
    from hashlib import _Hash

Size = tuple[int, int]
#: How many of several files are named.
_NAMED = 5


class Files(ABC):
    """Files that hold one picture each, wherever they are."""

    @abstractmethod
    def __len__(self) -> int:
        """How many there are."""

    @abstractmethod
    def name(self, index: int) -> str:
        """What one is called in errors."""

    @abstractmethod
    def open(self, index: int) -> Any:
        """What Pillow opens: a path, or a stream of bytes."""

    @abstractmethod
    def digest(self, index: int) -> bytes:
        """A digest of its content."""

    @abstractmethod
    def version(self, index: int) -> str:
        """What changes when its content does, and is known without reading that."""


class Paths(Files):
    """Files of a disk."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = list(paths)

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, index: int) -> str:
        """Its path."""
        return str(self.paths[index])

    def open(self, index: int) -> Path:
        """Its path."""
        return self.paths[index]

    def digest(self, index: int) -> bytes:
        """As `Files.digest`; a file is read once while it stays as it is."""
        return known_digest(self.paths[index]).encode()

    def version(self, index: int) -> str:
        """Path, size and time of the last change."""
        about = self.paths[index].stat()
        return f"{self.paths[index].resolve()}\0{about.st_size}\0{about.st_mtime_ns}"


@dataclass(frozen=True)
class Look:
    """What all pictures become: in colour or grey, of one size; and the size that each has, upright."""

    colour: bool
    size: Size
    sizes: dict[str, list[Size]]
    broken: dict[str, list[int]]


class Pictures(Source):
    """Pictures of one look, decoded when they are asked for; what was decoded is kept on the disk."""

    def __init__(self, split: str, files: Files, labels: Labels | None, look: Look, form: Preprocess) -> None:
        check_lengths(split, len(files), len(files) if labels is None else len(labels))
        self.split, self.files, self._labels, self.look, self.form = split, files, labels, look, form
        self.shape = (3 if look.colour else 1, *look.size)
        self._stored = Stored(self._key, len(files), self.shape)

    def __len__(self) -> int:
        return len(self.files)

    @property
    def labels(self) -> Labels | None:
        """As they were given."""
        return self._labels

    def read(self, places: torch.Tensor) -> torch.Tensor:
        """As `Source.read`. Raises: `BadFile` for one that cannot be read."""
        pixels = torch.empty(len(places), *self.shape, dtype=torch.uint8)
        for index, place in enumerate(places.tolist()):
            if not self._stored.fetch(place, pixels[index]):
                pixels[index] = self.decode(place)  # one channel fills three
                self._stored.keep(place, pixels[index])
        return as_inputs(self.split, pixels, self.form)

    def decode(self, place: int) -> torch.Tensor:
        """The pixels of one, uint8 (C, H, W), at the size of all. Raises: `BadFile`."""
        with opened(self.files, place) as picture:
            found = _decoded(self.files.name(place), picture)
        if tuple(found.shape[-2:]) == self.look.size and self.form.crop == 1:
            return found
        return resize(found[None], self.form)[0] if self.form.size else found

    def feed(self, digest: _Hash, places: torch.Tensor) -> None:
        """How pictures become inputs, and the content of each file."""
        digest.update(repr((self.look.colour, self.look.size, self.form)).encode())
        for place in places.tolist():
            digest.update(self.files.digest(place))

    def _key(self) -> str:
        """What changes when the pixels do."""
        form = (self.form.size, self.form.crop, self.form.interpolation)
        return repr((self.shape, form, [self.files.version(index) for index in range(len(self.files))]))


def survey(found: Mapping[str, Files], form: Preprocess, unreadable: str = "refuse") -> Look:
    """What all pictures have in common; reads their heads alone, and all of each where unreadable ones are skipped.

    Raises: `BadFile` that names the files which are no pictures, `BadValue` for several sizes without `form.size`.
    """
    colour, first = False, None
    sizes: dict[str, list[Size]] = {}
    broken: dict[str, list[int]] = {}
    why = ""
    for split, files in found.items():
        sizes[split], broken[split] = [], []
        for index in range(len(files)):
            try:
                coloured, size = _head(files, index, whole=unreadable == "skip")
            except BadFile as error:
                if isinstance(error.__cause__, ImportError):
                    raise
                why = why or str(error)
                broken[split].append(index)
                sizes[split].append((0, 0))
                continue
            colour |= coloured
            first = first or (files.name(index), size)
            sizes[split].append(size)
            if form.size is None and size != first[1]:
                raise _several_sizes(first, (files.name(index), size))
    _refuse_broken(found, broken, why, unreadable, none=first is None)
    assert first is not None
    return Look(colour, form.size or first[1], sizes, broken)


def skipped(found: Mapping[str, Files], look: Look) -> list[str]:
    """A sentence a split whose unreadable pictures are left out."""
    return [
        f"{len(places)} of the {len(found[split])} pictures{f' of split {split!r}' * bool(split)} cannot be read, and "
        f"are left out: {', '.join(found[split].name(index) for index in places[:_NAMED])}"
        f"{', ...' * (len(places) > _NAMED)}."
        for split, places in look.broken.items()
        if places
    ]


def _refuse_broken(found: Mapping[str, Files], broken: dict[str, list[int]], why: str, how: str, none: bool) -> None:
    names = [found[split].name(index) for split, places in broken.items() for index in places]
    if names and (how == "refuse" or none):
        others = f" So are {len(names) - 1} others: {', '.join(names[1:_NAMED])}." if len(names) > 1 else ""
        raise BadFile(f"{why}{others}")


def _several_sizes(first: tuple[str, Size], other: tuple[str, Size]) -> BadValue:
    names = [f"{Path(name).name} is {size[0]} x {size[1]}" for name, size in (first, other)]
    return BadValue(
        f"Pictures have several sizes: {names[0]} and {names[1].replace(' is ', ' ')} "
        "(height x width). Give wb.data size=(height, width): each is scaled until it covers that size, and "
        "cut at its centre."
    )


def _head(files: Files, index: int, whole: bool) -> tuple[bool, Size]:
    """Whether a picture has colours, and its height and width as it is to be looked at. Raises: `BadFile`."""
    with opened(files, index) as picture, _told(files.name(index)):
        if whole:
            picture.load()
        return picture.mode not in GREY and not picture.mode.startswith("I;16"), _upright(picture)


def opened(files: Files, index: int) -> Any:
    """A picture of Pillow's, to be closed. Raises: `BadFile` for what is none."""
    try:
        from PIL import Image
    except ImportError as error:
        raise BadFile(
            f"Reading pictures such as {Path(files.name(index)).name} needs Pillow, which is not installed: pip "
            'install "nn-workbench[images]". Or give wb.data arrays: an .npz, or {"test": (images, labels)}.'
        ) from error
    with _told(files.name(index)):
        return Image.open(files.open(index))


def _decoded(name: str, picture: Any) -> torch.Tensor:
    """Pixels (C, H, W) as they are to be looked at: cameras note how they were held."""
    from PIL import ImageOps

    with _told(name):
        return as_tensor(ImageOps.exif_transpose(picture), name, batch=False)


@contextmanager
def _told(name: str) -> Iterator[None]:
    """Whatever a decoder raises for a damaged file as a `BadFile` that names it."""
    try:
        yield
    except Exception as error:  # decoders raise anything
        raise BadFile(
            f"{name} is not a readable picture: {error}. Repair it, take it out, or give wb.data unreadable='skip'."
        ) from error


def _upright(picture: Any) -> Size:
    """Height and width as they are to be looked at, from the head of the file."""
    width, height = picture.size
    told = "exif" in picture.info or picture.format not in {"PNG", "GIF", "BMP"}  # these decode all to look for it
    lying = told and picture.getexif().get(0x0112, 1) in {5, 6, 7, 8}
    return (width, height) if lying else (height, width)
