"""What the region of model and data shows: cards, sample images, and what else can be loaded."""

from __future__ import annotations

from typing import TypedDict


class Fact(TypedDict):
    """A figure of a card, and what it is."""

    label: str
    text: str


class ModelCard(TypedDict):
    """A model to choose."""

    name: str
    figures: list[Fact]


class Sample(TypedDict):
    """An image as a data URI, and the name of its class."""

    name: str
    picture: str


class DataAbout(TypedDict):
    """What is measured on; `back` is the button to the data of before, where there is such."""

    sentence: str
    samples: list[Sample]
    back: str


class Earlier(TypedDict):
    """A study of before: its folder's name, what it is about, and why it cannot be opened."""

    folder: str
    name: str
    about: str
    problem: str
    shown: bool


class Zoo(TypedDict):
    """A collection of networks; `command` installs it where it is not."""

    name: str
    installed: bool
    hint: str
    command: str
    example: str


class Sources(TypedDict):
    """What can be loaded beside the bundled models; `limit` is an upload's, in bytes."""

    accept: str
    limit: int
    hint: str
    too_large: str
    paths: bool
    zoos: list[Zoo]


class ModelsView(TypedDict):
    """The gallery, and what is chosen of it."""

    cards: list[ModelCard]
    selected: str
    busy: bool
    waiting: str
    about: str
    kept: str
    earlier: list[Earlier]
    problems: list[str]
    data: DataAbout | None
    others: Sources | None
