"""Models and data of a visitor's session: chosen from the gallery, opened, uploaded; their studies are kept."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import workbench as wb
from workbench import charts
from workbench.data import Data
from workbench.errors import BadValue, WorkbenchError
from workbench.jobs import Job
from workbench.published import published
from workbench.recipe import Recipe
from workbench.report.about import shapes_text
from workbench.report.words import count
from workbench.study import Study
from workbench.variant import Variant
from workbench_widgets import desk, editing, rows, study_state
from workbench_widgets.background import Background
from workbench_widgets.desk import Kept
from workbench_widgets.gallery import Gallery, fits, from_zoo
from workbench_widgets.running import Running
from workbench_widgets.store import Card, Message, Ready, State, Store
from workbench_widgets.uploads import Uploads
from workbench_widgets.uploads import published as is_published


class Opening:
    """Brings models to the screen, and measures the original of one that nobody has measured."""

    def __init__(self, store: Store, running: Running, background: Background, study: Study | None) -> None:
        self._store, self._running, self._background, self._given = store, running, background, study
        self._gallery = Gallery()
        self._uploads = Uploads()
        self._unasked: Job[Variant] | None = None  # the first measurement of the original, which starts by itself

    def start(self) -> None:
        """Load the gallery and the first model, in the background."""
        self._background.spawn(self._open if self._given is None else self._take)

    def choose(self, name: str) -> None:
        """Show a model's study; the one before keeps its variants, and its jobs but for what nobody asked for."""
        self._choose(name)

    def _choose(self, name: str, *new: Card) -> None:
        """Show a model's study, that of a card that is new on the screen too, in one change of the state."""
        if self._unasked is not None:
            self._unasked.cancel()
        before, said = self._store.state, Message(f"Loading {name}.", "busy")
        self._store.edit(lambda s: replace(study_state.emptied(s), cards=_with(s.cards, new), model=name, message=said))
        self._background.spawn(lambda: self._load_or_go_back(name, before))

    def _open(self) -> None:
        table = wb.catalog()
        bundled = table[table["source"] == "bundled"]
        columns = ("name", "accuracy", "macs", "params")
        known = bundled[list(columns)].astype(object).where(bundled[list(columns)].notna(), None)
        cards = tuple(Card(*row) for row in known.itertuples(index=False))
        self._store.update(cards=cards, menu=True, catalogue=_catalogue())
        self.look()
        if not self._store.state.model and not self._resumed():
            self.choose(cards[0].name)

    def _resumed(self) -> bool:
        """Come back to the study that was shown last; False where there is none that opens."""
        last = next((one for one in self._store.state.earlier if not one.problem), None)
        if last is None:
            return False
        try:
            self._reopened(last)
        except WorkbenchError:  # deleted, changed, or of another machine: the list says so when it is asked for
            return False
        return True

    def _reopened(self, kept: Kept) -> None:
        card = self._gallery.reopen(kept)
        known = any(one.name == card.name for one in self._store.state.cards)
        self._choose(card.name, *([] if known else [card]))

    def _take(self) -> None:
        study = self._given
        assert study is not None
        card = self._gallery.keep(study)
        self._store.update(cards=(card,), menu=True, catalogue=_catalogue(), model=card.name, home=study.data.name)
        self._load(card.name)

    def look(self) -> None:
        """Look again which studies of before there are."""
        self._store.update(earlier=desk.earlier())

    def reopen(self, folder: str) -> None:
        """Show a study of before, by its folder's name. Raises: `BadValue`."""
        kept = next((one for one in desk.earlier() if one.folder.name == folder), None)
        if kept is None:
            raise BadValue(f"There is no study {folder!r} any more.")
        self._store.say(f"Opening {kept.model} on {kept.data}.", "busy")
        self._background.spawn(lambda: self._reopened(kept))

    def note(self, state: State) -> None:
        """Note what is on the screen beside its study, so that it comes back."""
        study = state.study
        if study is None:
            return
        original = study.find(Recipe())
        viewed = {name: getattr(state, name) for name in desk.VIEWED}
        now = datetime.now(UTC).isoformat(timespec="seconds")
        about = (study.model.name, study.data.name, len(study.variants), now)
        network = original.weights.name if original else ""
        kept = Kept(study.path, *about, network, self._gallery.origin(study), state.recipe.to_json(), viewed)
        desk.write(study, kept)

    def upload(self, file: str, size: int, offset: int, content: bytes = b"") -> bool:
        """Take the next part of a file; True with the last one, when it is being opened. Raises: as `Uploads.take`."""
        path = self._uploads.take(file, size, offset, content)
        if path is not None:
            self._store.say(f"Opening {file}.", "busy")
            self._background.spawn(lambda: self._opened(path, uploaded=True))
        return path is not None

    def open(self, path: str) -> None:
        """Open a file or folder of this machine. Raises: `BadValue` on a page for strangers."""
        if is_published():
            raise BadValue("Paths of the server cannot be opened on a published page. Upload the file instead.")
        self._store.say(f"Opening {path}.", "busy")
        self._background.spawn(lambda: self._opened(Path(path).expanduser(), uploaded=False))

    def zoo(self, zoo: str, name: str, trained: bool) -> None:
        """Load a network of torchvision or timm."""
        self._store.say(f"Loading {name} of {zoo}.", "busy")
        self._background.spawn(lambda: self._added(self._gallery.add(from_zoo(zoo, name, trained))))

    def home_data(self) -> None:
        """Measure the chosen model on the data of before again."""
        self._gallery.go_home()
        self.choose(self._store.state.model)

    def _opened(self, path: Path, *, uploaded: bool) -> None:
        try:
            found = self._gallery.open(path, uploaded=uploaded)
        finally:
            if uploaded:  # it is in memory now
                path.unlink(missing_ok=True)
        if isinstance(found, Card):
            self._added(found)
        elif self._store.state.model:
            self._measured_on(found)

    def _measured_on(self, data: Data) -> None:
        """Show the chosen model on other data; those that do not fit it wait for a model. Raises: `BadValue` then."""
        study = self._store.state.study
        if study is None or fits(study.model, data):
            self.choose(self._store.state.model)
            return
        has, takes = shapes_text(data["test"].example), shapes_text(study.model.example)
        raise BadValue(
            f"{data.name} holds images of {has}, and {study.model.name} takes {takes}, so it stays measured on "
            f"{study.data.name}. Choose or load a model that takes such images: it will be measured on {data.name}."
        )

    def _added(self, card: Card) -> None:
        self._choose(card.name, card)

    def _load_or_go_back(self, name: str, before: State) -> None:
        """What cannot be shown leaves the visitor where they were, with the reason."""
        try:
            self._load(name)
        except Exception:
            self._store.edit(lambda s: study_state.back(s, before) if s.model == name and s.study is None else s)
            raise

    def _load(self, name: str) -> None:
        study = self._gallery.study(name)
        elsewhere, kept = published(study), desk.read(study.path)
        before = f" with {count(len(study.variants), 'variant', 'variants')} of before" if study.variants else ""
        ready = Message(f"{name} is loaded{before}. Add a step to the recipe, or choose a variant.")
        shown = self._store.edit(
            lambda s: (
                _as_left(study_state.showing(s, study, elsewhere, _said_since(s) or ready), kept)
                if s.model == name
                else s
            )
        )
        self.look()
        if shown.study is study and not study.variants and elsewhere is None:
            self._unasked = self._running.measure_unasked(study)


def _with(cards: tuple[Card, ...], new: tuple[Card, ...]) -> tuple[Card, ...]:
    """The cards with new ones last, in the place of those of the same name."""
    names = {card.name for card in new}
    return (*(card for card in cards if card.name not in names), *new)


def _as_left(state: State, kept: Kept | None) -> State:
    """With what was chosen and edited when the study was shown last; a recipe that is being edited stays."""
    if kept is None:
        return state
    fits = {"selected": state.variant(str(kept.viewed.get("selected", ""))) is not None}
    known = charts.drawable(rows.everything(state))
    fits |= {name: kept.viewed.get(name) in known for name in ("x", "y", "size")}
    state = replace(state, **{name: kept.viewed[name] for name, fit in fits.items() if fit})
    recipe = desk.recipe_of(kept)
    if state.stack or not recipe.steps:
        return state
    try:
        return replace(editing.take(state, recipe), past=())
    except WorkbenchError:  # of a step that is not there any more
        return state


def _said_since(state: State) -> Message | None:
    """What went wrong while a model was loading: nobody has read it yet, so good news does not cover it."""
    return state.message if state.message.kind == "error" else None


def _catalogue() -> tuple[Ready, ...]:
    return tuple(Ready(*row) for row in wb.recipes().itertuples(index=False))
