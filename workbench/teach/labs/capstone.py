"""Lab 8, the capstone: two budgets, and the proof that they are kept."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from workbench.certificate import Certificate
from workbench.cost import cost
from workbench.manifest import Manifest, read_manifest
from workbench.proof.checking import checked
from workbench.teach.judging import Choice, Function, Mistake, Number
from workbench.teach.made import Demand, Made
from workbench.variant import Variant

Array = npt.NDArray[Any]

#: The microcontroller's network, its budget in bytes, and what the variant may lose on the validation split.
HEARING, MCU = "tones-dscnn", "cortex-m7"
RAM, FLASH, LOSS = 8192, 8192, 0.02
#: The phone's network, and how many bytes may be fetched.
SEEING, DOWNLOAD = "fashion-squeezenet", 24_000
#: What is certified, at most.
MARGIN, ALPHA = 0.03, 0.05
#: Weights, bits of each, and clusters of the question on sharing: the figure of Han et al. 2016, section 3.
WEIGHTS, BITS, CLUSTERS = 16, 32, 4
#: How often four symbols occur, in the question on Huffman codes.
SHARES = (0.5, 0.25, 0.125, 0.125)
#: Channels and side of the maps that a layer reads and makes, in the question on RAM.
READ, MADE = (16, 28), (24, 14)


def sharing_rate(weights: int, bits: int, clusters: int) -> float:
    """How many times smaller shared weights are, indices and codebook counted (Han et al. 2016, eq. 1)."""
    return weights * bits / (weights * math.log2(clusters) + clusters * bits)


def mean_length(shares: tuple[float, ...]) -> float:
    """Bits a symbol of a Huffman code, for shares that are powers of two: there it reaches the entropy."""
    return sum(-one * math.log2(one) for one in shares)


def on_front(points: Array) -> Array:
    """Which of points (N, 2), cost and accuracy, no other one equals or beats in both and beats in one."""
    cost_, gain = points[:, 0], points[:, 1]
    as_good = (cost_[None] <= cost_[:, None]) & (gain[None] >= gain[:, None])
    better = (cost_[None] < cost_[:, None]) | (gain[None] > gain[:, None])
    return np.asarray(~(as_good & better).any(1))


def _points() -> list[tuple[Array]]:
    rng = np.random.default_rng(0)
    drawn = np.stack([rng.integers(1, 12, 14), rng.integers(60, 70, 14)], axis=1)
    return [(np.array([[3, 90], [1, 80], [2, 80], [2, 85], [4, 90], [5, 95], [5, 70], [1, 80]]) * 1.0,), (drawn * 1.0,)]


def _beaten(points: Array, strictly: bool) -> Array:
    """Which points another one beats: in both (strictly), or in either."""
    less, more = (points[None, :, 0] < points[:, None, 0]), (points[None, :, 1] > points[:, None, 1])
    return np.asarray(((less & more) if strictly else (less | more)).any(1))


def _bytes(side: tuple[int, int]) -> int:
    return side[0] * side[1] ** 2


def _steps(variant: Variant) -> list[str]:
    return [type(one).__name__ for one in variant.recipe.steps]


def _integers(variant: Variant) -> bool:
    return any(getattr(one, "precision", "") == "int8" for one in variant.recipe.steps)


def _flash(variant: Variant) -> int:
    return cost(variant).on(MCU).flash_bytes


def _ram(variant: Variant) -> int:
    return cost(variant).on(MCU).ram_bytes


def _keeps(variant: Variant) -> bool:
    return variant["validation_accuracy_change"].value >= -LOSS


def _folder(answer: Any) -> Path | None:
    """The folder of an export, given as itself or as its manifest."""
    if isinstance(answer, Manifest):
        return answer.path
    return Path(answer) if isinstance(answer, (str, Path)) else None


def _agrees(answer: Any) -> bool:
    return not checked(_folder(answer) or Path(), seconds=0).differs


def _told(answer: Any) -> Manifest:
    """What an export says of itself."""
    return read_manifest(_folder(answer) or Path())


def _there(answer: Any) -> bool:
    folder = _folder(answer)
    return folder is not None and (folder / "manifest.json").is_file()


def _card(answer: Any) -> str:
    """The text of a model card."""
    return Path(answer).read_text(encoding="utf-8")


def _header(answer: Any) -> bool:
    """Whether it begins with a YAML header, as on the Hugging Face hub."""
    parts = _card(answer).split("---\n", 2)
    return len(parts) == 3 and not parts[0] and isinstance(yaml.safe_load(parts[1]), dict)


def _certified(answer: Any) -> bool:
    """Whether a certificate stands under its heading."""
    return _card(answer).partition("### Certificate")[2].lstrip().startswith("- ")


VARIANT = Demand(
    lambda one: isinstance(one, Variant), "This is {}; the answer is a variant, as study.run(recipe) gives it."
)


def _network(name: str, who: str) -> Demand:
    return Demand(lambda one: one.model.name == name, f"This is a variant of another network: {who} is {name}.")


QUESTIONS = (
    Number(
        "capstone-ram",
        f"In int8 a layer reads {READ[0]} maps of {READ[1]} × {READ[1]} and makes {MADE[0]} of {MADE[1]} × {MADE[1]}. "
        "How many bytes of RAM are alive while it runs?",
        ("What it reads must be there until what it makes is finished.",
         f"{READ[0]} · {READ[1]}² + {MADE[0]} · {MADE[1]}², at a byte each."),
        right=_bytes(READ) + _bytes(MADE), exact=True, unit="bytes",
        mistakes=(
            Mistake(4 * (_bytes(READ) + _bytes(MADE)), "So many it is in float32; int8 takes a byte each."),
            Mistake(_bytes(READ), "That is what it reads; what it makes stands beside it."),
            Mistake(_bytes(MADE), "That is what it makes; what it reads is there still."),
            Mistake(_bytes(READ) - _bytes(MADE), "Both are alive at once: add them."),
            Mistake(READ[0] * READ[1] + MADE[0] * MADE[1], "A map has height and width."),
            Mistake(_bytes(READ) * _bytes(MADE), "They stand side by side: add them."),
        ),
    ),
    Made(
        "capstone-mcu",
        f"Give a variant of {HEARING} for a Cortex-M7: int8, at most {RAM:,} bytes of RAM and {FLASH:,} of flash, and "
        f"at most {100 * LOSS:g} points lost on the validation split.",
        ("Channels that go take weights and maps along; int8 comes last.",),
        points=4,
        demands=(
            VARIANT,
            _network(HEARING, "what the microcontroller hears with"),
            Demand(lambda one: bool(one.recipe.steps), "That is the original: nothing has been made smaller."),
            Demand(_integers, "Its numbers are floats: four bytes each, and this core is slow with them. End the "
            "recipe "
                   'with Quantize("int8").'),
            Demand(lambda one: _ram(one) <= RAM, f"It needs more than {RAM:,} bytes of RAM for its maps: a low rank "
                   "leaves those outside of its chains as wide as they were. Let channels go."),
            Demand(lambda one: _flash(one) <= FLASH, f"Its weights need more than {FLASH:,} bytes of flash: take away "
                   "more of them."),
            Demand(_keeps, f"It loses more than {100 * LOSS:g} points on the validation split: take away less, or "
                   "train it again."),
        ),
    ),
    Number(
        "capstone-sharing",
        f"{WEIGHTS} weights of {BITS} bits share {CLUSTERS} values. How many times smaller are they, with the "
        "codebook?",
        ("Each weight becomes an index; how many bits has an index of four values?",
         "16 · 32 over 16 · 2 + 4 · 32 (Han et al. 2016, eq. 1)."),
        right=sharing_rate(WEIGHTS, BITS, CLUSTERS),
        mistakes=(
            Mistake(BITS / math.log2(CLUSTERS), "The codebook counts, too: four values of 32 bits."),
            Mistake(WEIGHTS / CLUSTERS, "The indices count, too: two bits for each weight."),
            Mistake(1 / sharing_rate(WEIGHTS, BITS, CLUSTERS), "That is the share that is left: the question is how "
                    "many times smaller."),
            Mistake(sharing_rate(WEIGHTS, BITS, 2**CLUSTERS), "That is with sixteen values: four of them need an index "
                    "of two bits, not four."),
            Mistake(WEIGHTS * BITS / (WEIGHTS * CLUSTERS + CLUSTERS * BITS), "An index of four values has two bits, "
                    "log2(4)."),
            Mistake(1 - 1 / sharing_rate(WEIGHTS, BITS, CLUSTERS), "That is the share that is saved."),
        ),
    ),
    Number(
        "capstone-huffman",
        "Four values occur in one half, one quarter and twice one eighth of the places. How many bits a place takes "
        "the best code that gives each value a word?",
        ("What is frequent has the short word: 0, 10, 110, 111.", "0.5 · 1 + 0.25 · 2 + 0.125 · 3 + 0.125 · 3."),
        right=mean_length(SHARES), unit="bits",
        mistakes=(
            Mistake(2, "That is two bits for each: the frequent one can do with one."),
            Mistake(9 / 4, "The four words are 2.25 bits long in the mean; but the short one is written most often."),
            Mistake(3, "That is the longest word."),
            Mistake(1, "That is the shortest word."),
            Mistake(1.5, "If the two rare ones took two bits, their words would be beginnings of each other's."),
            Mistake(9, "That is the four words together; weigh each with how often it is written."),
        ),
    ),
    Made(
        "capstone-deep",
        f"Give a variant of {SEEING} made by Deep Compression whose bundle is at most {DOWNLOAD:,} bytes and that "
        f"loses at most {100 * LOSS:g} points on the validation split.",
        ("Prune, train, share: what each of them leaves is in the column huffman_bytes.",),
        points=4,
        demands=(
            VARIANT,
            _network(SEEING, "what the phone sees with"),
            Demand(lambda one: bool(one.recipe.steps), "That is the original: nothing has been made smaller."),
            Demand(lambda one: "Prune" in _steps(one), "Deep Compression begins with single weights that go: Prune."),
            Demand(lambda one: "ShareWeights" in _steps(one), "Deep Compression goes on with few values for what is "
                   "left: ShareWeights."),
            Demand(lambda one: one["huffman_bytes"].value <= DOWNLOAD, f"Its bundle is larger than {DOWNLOAD:,} bytes: "
                   "prune more, or share fewer values."),
            Demand(_keeps, f"It loses more than {100 * LOSS:g} points on the validation split: prune less, or train it "
                   "longer."),
        ),
    ),
    Function(
        "capstone-front",
        "Write on_front(points) for points (N, 2), a cost and an accuracy each: True for every point that no other one "
        "equals or beats in both and beats in one.",
        ("A point falls when another is no dearer and no worse, and cheaper or better.",
         "as_good = (c <= c_i) & (a >= a_i); better = (c < c_i) | (a > a_i); it falls where any is both."),
        points=2, right=on_front, cases=_points,
        mistakes=(
            Mistake(lambda p: ~_beaten(p, strictly=True), "A point falls, too, where another costs as much and is "
                    "better, or is as good and costs less."),
            Mistake(lambda p: ~_beaten(p, strictly=False), "Cheaper alone does not beat: a dearer point may be worth "
                    "its price."),
            Mistake(lambda p: on_front(p * [-1, 1]), "Cost is to be small."),
            Mistake(lambda p: on_front(p * [1, -1]), "Accuracy is to be large."),
            Mistake(lambda p: ~on_front(p), "Those are the points that fall."),
            Mistake(lambda p: np.flatnonzero(on_front(p)), "The right ones, as places: give True or False for each."),
        ),
    ),
    Choice(
        "capstone-none",
        "A search ends with found.best = None. What does that say?",
        ("None of those that it built kept to the limits; what of those that it did not?",),
        right="d",
        options={
            "a": "No variant can keep to the limits.",
            "b": "The search failed, and nothing was kept.",
            "c": "The original is the best.",
            "d": "Of those built in that time none kept to them: look at the nearest, give it more time, or training.",
            "e": "The limits were written wrongly.",
        },
        wrong={
            "a": "It looked at a few of very many: that none was found is no proof that there is none.",
            "b": "Every variant that it built is in the study.",
            "c": "The original may not keep to the limits either.",
            "e": "A limit that cannot be read is refused before the search begins.",
        },
    ),
    Made(
        "capstone-certificate",
        f"Give a certificate, on the test split, that your microcontroller's variant loses at most {100 * MARGIN:g} "
        f"points ({100 * (1 - ALPHA):g} %).",
        ('study.certify(variant, margin=..., split="test") gives one.',),
        points=3,
        demands=(
            Demand(lambda one: isinstance(one, Certificate), "This is {}; study.certify(variant, margin=...) gives a "
                   "certificate."),
            Demand(lambda one: one.metric == "accuracy", "It is about another figure than accuracy."),
            Demand(lambda one: one.split == "test", "It is on the split that the variant was chosen on, where it looks "
                   'better than it is: confirm it on split="test".'),
            Demand(lambda one: one.margin <= MARGIN, f"Its margin is wider than {100 * MARGIN:g} points."),
            Demand(lambda one: one.alpha <= ALPHA, f"It may be wrong more often than in {100 * ALPHA:g} of 100 cases."),
            Demand(lambda one: one.at_most <= one.margin or one.at_least > one.margin, "It is not known yet: the loss "
                   "is too near to the margin for so many inputs. Make a variant that loses less."),
            Demand(lambda one: one.passes, "It fails: the variant surely loses more than that."),
        ),
    ),
    Made(
        "capstone-export",
        "Give the folder that your microcontroller's variant was exported to.",
        ("wb.export(variant, folder) writes it, and gives its manifest.",),
        points=3,
        demands=(
            Demand(lambda one: _folder(one) is not None, "This is {}; the answer is the folder's name, or what "
                   "wb.export gave."),
            Demand(lambda one: (_folder(one) or Path()).is_dir(), "There is no such folder: wb.export(variant, folder) "
                   "makes one."),
            Demand(_there, "The folder holds no manifest.json, so wb.export did not write it."),
            Demand(_agrees, "It does not answer as it was measured, or its files were changed: `workbench check` says "
                   "which. Export again."),
            Demand(lambda one: _told(one).model == HEARING, "That is another network's: the microcontroller hears."),
            Demand(lambda one: bool(_told(one).recipe), "That is the original, exported as it was: its recipe has no "
                   "step."),
        ),
    ),
    Made(
        "capstone-card",
        "Give the path of your variant's model card.",
        ('wb.report(study, "out/README.md", chosen=variant) writes one.',),
        points=3,
        demands=(
            Demand(lambda one: isinstance(one, (str, Path)), "This is {}; the answer is the file's path."),
            Demand(lambda one: Path(one).suffix == ".md", "A model card is a .md file; what you name here is another."),
            Demand(lambda one: Path(one).is_file(), "There is no such file: wb.report(study, path, chosen=variant) "
                   "writes it."),
            Demand(_header, "It does not begin with a YAML header between lines of ---, by which the hub files it."),
            Demand(_certified, "It holds no certificate: certify the variant in this study, then write the card "
            "again."),
            Demand(lambda one: "intended use" in _card(one).lower(), 'It does not say what it is for: study.annotate('
                   'variant, "Intended use: ..."), then write the card again.'),
        ),
    ),
)  # fmt: skip
