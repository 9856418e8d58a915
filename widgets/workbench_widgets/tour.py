"""The tour of the screen: where it stops, and what it says there."""

from __future__ import annotations

from workbench_widgets.seam.page_view import Stop

#: (panel, title, text); each panel is one of the screen's.
STOPS = (
    (
        "models",
        "A network",
        "Choose a bundled network, or open your own with your own images. Its first figures are measured "
        "here, on this machine.",
    ),
    (
        "recipe",
        "A recipe",
        "Add steps, and move their sliders. Nothing is computed yet: a recipe is only a plan, and undo takes "
        "back whatever you did.",
    ),
    (
        "prediction",
        "What it would cost",
        "The plan of the recipe, before anything runs: multiply-accumulates, parameters, memory, the "
        "predicted latency. It follows every slider.",
    ),
    (
        "run",
        "Run it",
        "Makes the variant and measures the very file that would ship: accuracy on the test images, latency "
        "in turns with the original. Jobs can be cancelled, and nothing that is finished is lost.",
    ),
    (
        "search",
        "Or let it be found",
        "Name what may be lost and how long it may take. The search chooses, builds and measures, and chooses again.",
    ),
    (
        "chart",
        "What it is worth",
        "Each variant is a point: hollow where it is predicted, filled where it is measured, with its "
        "interval. The axes are yours to choose; the best ones are joined.",
    ),
    (
        "table",
        "All the figures",
        "The same variants as rows. Choosing one chooses it everywhere; columns can be left out, and the "
        "table leaves as CSV or Parquet.",
    ),
    (
        "layers",
        "Layer by layer",
        "What the recipe does to every layer, or why it leaves it alone, and what that costs.",
    ),
    (
        "diagnosis",
        "Where it went wrong",
        "Where the outputs part from the original's, which classes paid, and the images on which the two disagree.",
    ),
    (
        "variant",
        "Take it away",
        "The chosen variant: why it is as fast as it is, and its export, which is read back and proved to be "
        "what was measured.",
    ),
)


def stops() -> list[Stop]:
    """The stops in their order."""
    return [{"panel": panel, "title": title, "text": text} for panel, title, text in STOPS]
