"""Objects in pictures, as COCO describes them: a JSON of images, categories and boxes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from workbench.data.dataset import SPLITS
from workbench.data.folder import IMAGES, split_of
from workbench.data.listing import UNDIVIDED, Found, Listing
from workbench.data.pictures import Paths
from workbench.errors import BadFile, shown
from workbench.untrusted import parse_json

#: The largest file: COCO's own has 470 MB and 60 million values.
_BYTES, _VALUES = 1 << 30, 10**8


def list_coco(files: list[Path]) -> Found:
    """The pictures of annotation files, each with its `boxes` float32 (n, 4), corners in pixels, and `labels` (n,).

    A file belongs to the split that its name holds, as in `instances_train2017.json`. Classes are numbered in the
    order of the categories' ids; crowds are left out.
    Raises: `BadFile` for what is no such file, or names pictures that are not there.
    """
    read = {_split(file) if len(files) > 1 else _split(file) or UNDIVIDED: (file, _read(file)) for file in files}
    names = {c["id"]: str(c["name"]) for _, content in read.values() for c in content["categories"]}
    number = {one: index for index, one in enumerate(sorted(names))}
    listings = {split: _listing(file, content, number) for split, (file, content) in read.items()}
    return Found(listings, tuple(names[one] for one in sorted(names)))


def is_coco(file: Path) -> bool:
    """Whether a JSON file describes objects in pictures; looks at its beginning alone."""
    with file.open("rb") as stream:
        head = stream.read(1 << 16)
    return head.lstrip()[:1] == b"{" and any(word in head for word in (b'"images"', b'"annotations"', b'"categories"'))


def _split(file: Path) -> str:
    words = file.stem.lower().replace("2017", "").replace("2014", "").replace("-", "_").split("_")
    return next((split_of(word) for word in words if split_of(word) in SPLITS), UNDIVIDED)


def _read(file: Path) -> dict[str, Any]:
    content = parse_json(file.read_bytes(), str(file), size=_BYTES, nodes=_VALUES)
    wrong = [key for key in ("images", "annotations", "categories") if not _are_records(content, key)]
    if wrong:
        raise BadFile(f"{file} is no COCO file: it has no list {', '.join(map(repr, wrong))}.")
    return dict(content)


def _are_records(content: Any, key: str) -> bool:
    found = content.get(key) if isinstance(content, dict) else None
    return isinstance(found, list) and all(isinstance(one, dict) for one in found)


def _listing(file: Path, content: dict[str, Any], number: dict[Any, int]) -> Listing:
    try:
        order = [one["id"] for one in content["images"]]
        boxes: dict[Any, list[tuple[list[float], int]]] = {one: [] for one in order}
        for one in content["annotations"]:
            if not one.get("iscrowd"):
                x, y, width, height = (float(value) for value in one["bbox"])
                boxes[one["image_id"]].append(([x, y, x + width, y + height], number[one["category_id"]]))
        files = [_picture(file, str(one["file_name"])) for one in content["images"]]
    except (KeyError, TypeError, ValueError) as error:
        raise BadFile(f"{file} is no sound COCO file: {type(error).__name__}: {shown(error)}.") from error
    objects = [
        {
            "boxes": torch.tensor([box for box, _ in boxes[one]], dtype=torch.float32).reshape(-1, 4),
            "labels": torch.tensor([label for _, label in boxes[one]], dtype=torch.int64),
        }
        for one in order
    ]
    return Listing(Paths(files), objects=objects)


def _picture(file: Path, name: str) -> Path:
    """Where a picture is: beside the file, or in a folder of images or of the split there or one above."""
    split = file.stem.removeprefix("instances_").removeprefix("person_keypoints_")
    for root in (file.parent, file.parent.parent):
        for below in ("", *IMAGES, split, *(f"{one}/{split}" for one in IMAGES), _split(file)):
            path = root / below / name
            if "\0" not in name and path.resolve().is_relative_to(root.resolve()) and path.is_file():
                return path
    raise BadFile(f"{file} names the picture {name!r}, which is neither beside it nor in images/.")
