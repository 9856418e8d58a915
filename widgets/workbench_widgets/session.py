"""What a visitor can do. Every action returns at once: work runs on threads and publishes to the store."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from workbench.errors import BadValue, WorkbenchError, unknown
from workbench.export import export
from workbench.recipe import Recipe
from workbench.report.words import count
from workbench.study import Study
from workbench.variant import Variant
from workbench_widgets import desk, editing, scope, search_state, study_state, view_state
from workbench_widgets.background import Background
from workbench_widgets.controls import described, parse
from workbench_widgets.latest_only import Latest
from workbench_widgets.model_loading import Opening
from workbench_widgets.planning import plan
from workbench_widgets.running import Running
from workbench_widgets.search_running import Searching
from workbench_widgets.store import Message, State, Store, unexpected

#: What only changes the state, at once.
CHANGES: dict[str, Callable[..., State]] = {
    "add": editing.add_named, "remove": editing.remove, "move": editing.move, "switch": editing.switch,
    "focus": editing.focus, "undo": editing.undo, "redo": editing.redo,
    "toggle": scope.toggle, "scope": scope.choose, "cost": view_state.cost,
    "select": view_state.select, "axis": view_state.axis, "tab": view_state.tab,
    "size": view_state.size, "log": view_state.log, "limit": view_state.limit, "lineage": view_state.lineage,
    "drag": view_state.drag, "parallel": view_state.parallel,
    "compare": view_state.compare, "dismiss": view_state.dismiss,
    "columns": view_state.columns, "usual_columns": view_state.usual_columns, "archived": view_state.archived,
    "beside": view_state.beside, "nothing_beside": view_state.nothing_beside, "against": view_state.against,
    "want": search_state.want, "want_time": search_state.want_time, "want_training": search_state.want_training,
    "bind": search_state.bind, "bind_more": search_state.bind_more, "unbind": search_state.unbind,
    "take_promise": search_state.take_promise,
}  # fmt: skip


#: What is noted beside a study when it changes, and at most how often (seconds).
NOTED, NOTED_EVERY = ("study", "recipe", "frame", *desk.VIEWED), 0.5


class Session:
    """One visitor's work: the studies, the recipe being edited, the jobs. All of it shows in `store`."""

    def __init__(self, store: Store, study: Study | None = None) -> None:
        self.store = store
        self._plans, self._notes = Latest(self._plan), Latest(self._note)
        self.background = Background(store)
        self._running = Running(store, self.background.guarded)
        self._searching = Searching(store, self._running)
        self.opening = Opening(store, self._running, self.background, study)
        self._actions: dict[str, Callable[..., None]] = {
            "choose": self.opening.choose, "open": self.opening.open, "zoo": self.opening.zoo,
            "home_data": self.opening.home_data,
            "set": self.set, "edit": self.edit, "ready": self.ready, "remeasure": self.remeasure,
            "search": self.search, "take_found": self.take_found,
            "run": self.run, "cancel": self._running.cancel, "export": self.export,
            "sensitivity": self.sensitivity, "times": self.times,
            "diagnose": self.diagnose, "bisect": self.bisect, "restore": self.restore,
            "answers": self.answers,
            "rename": self.rename, "tag": self.tag, "annotate": self.annotate, "delete": self.delete,
            "archive": self.archive, "answers_beside": self.answers_beside, "reopen": self.opening.reopen,
            "look": self.opening.look,
        }  # fmt: skip
        store.subscribe(self._follow)

    def act(self, action: str, detail: dict[str, Any]) -> None:
        """Do what a panel asks for. Whatever goes wrong becomes a sentence in the status strip."""
        change = CHANGES.get(action)
        if change is not None:
            self.background.guarded(lambda: self.store.edit(lambda state: change(state, **detail)))
        else:
            self.background.guarded(lambda: self._actions[action](**detail))

    def start(self) -> None:
        """Load the gallery and the first model, in the background."""
        self.opening.start()

    # --- recipe

    def set(self, index: int, name: str, value: object, final: bool = True) -> None:
        """Change one setting; a value that cannot be used is kept beside the reason, and the recipe stays."""
        state = self.store.state
        known = described(state.stack[index].step, state.seen_by(index))
        setting = next(one for one in known if one.name == name)
        try:
            parsed = parse(setting, value)
            self.store.edit(lambda s: editing.set_value(s, (index, name), parsed, final))
        except (WorkbenchError, TypeError, ValueError) as error:
            sentence = str(error)
            self.store.edit(lambda s: editing.with_problem(s, (index, name), str(value), sentence))
            raise BadValue(sentence) from error

    def ready(self, name: str) -> None:
        """Put a recipe of the catalogue into the editor."""
        if name not in {entry.name for entry in self.store.state.catalogue}:
            raise unknown("recipe", name, [entry.name for entry in self.store.state.catalogue])
        recipe = Recipe.load(name)
        self.store.edit(lambda s: editing.take(s, recipe))

    def edit(self) -> None:
        """Put the chosen variant's recipe into the editor."""
        recipe = self._variant().recipe
        self.store.edit(lambda s: editing.take(s, recipe))

    def _follow(self, old: State, new: State) -> None:
        if new.study is not None and (new.recipe != old.recipe or new.study is not old.study):
            self._plans.ask((new.study, new.recipe))
        if new.study is not None and any(getattr(new, one) is not getattr(old, one) for one in NOTED):
            self._notes.ask(new)

    def _note(self, state: State) -> None:
        """On a thread of its own: note what is shown; what changes meanwhile is noted at once, and only its end."""
        try:
            self.opening.note(state)
        except Exception as error:  # noqa: BLE001  # the thread must live on, and the visitor must know
            self.store.say(unexpected(error), "error")
        time.sleep(NOTED_EVERY)

    def _plan(self, request: tuple[Study, Recipe]) -> None:
        study, recipe = request
        try:
            found = plan(study, recipe)
        except Exception as error:  # noqa: BLE001  # the thread must live on, and the visitor must know
            self.store.say(unexpected(error), "error")
            return
        self.store.edit(
            lambda s: replace(s, plan=found, planned=recipe) if s.study is study and s.recipe == recipe else s
        )

    def run(self) -> None:
        """Apply the recipe and measure the variant, in the background."""
        study, recipe = self.store.state.study, self.store.state.recipe
        self.background.spawn(lambda: self._running.run(study, recipe))

    def search(self) -> None:
        """Look for the best under the limits of the panel, in the background."""
        self.background.spawn(self._searching.start)

    def take_found(self) -> None:
        """Put the recipe of the best that the search has found into the editor."""
        search = search_state.of(self.store.state)
        best = search.found.best if search and search.found else None
        if best is None:
            raise BadValue("The search has found nothing that keeps to the limits yet.")
        self.store.edit(lambda s: replace(editing.take(s, best.recipe), selected=best.id))

    def remeasure(self) -> None:
        """Measure here what was measured elsewhere, one recipe after another."""
        study, elsewhere = self.store.state.study, self.store.state.published
        if study is None or elsewhere is None:
            raise BadValue("There is nothing here that was measured elsewhere.")
        missing = [one.recipe for one in elsewhere.variants if study.find(one.recipe) is None]
        sentence = f"Measuring {count(len(missing), 'variant', 'variants')} on this machine."
        self.background.spawn(lambda: [self._running.submit(study, recipe, sentence) for recipe in missing])

    def sensitivity(self) -> None:
        """Find how much each layer suffers from the step being edited, in the background."""
        study, stack = self.store.state.study, self.store.state.stack
        if study is None or not stack:
            raise BadValue("Sensitivity is to a step: add one to the recipe first.")
        step = stack[self.store.state.focus].step
        self.background.spawn(lambda: self._running.sensitivity(study, step))

    def times(self) -> None:
        """Time every layer of the original, and of the recipe where it was measured, in the background."""
        study, recipe = self.store.state.study, self.store.state.recipe
        if study is None:
            raise BadValue("The model is still loading.")
        measured = [recipe] if recipe.steps and study.find(recipe) else []

        def work() -> None:
            for one in (Recipe(), *measured):
                self._running.times(study, one)

        self.background.spawn(work)

    # --- results

    def export(self, format: str) -> None:  # noqa: A002  # the engine's word
        """Write the chosen variant's files, read them back, and offer them for download."""
        study, variant = self._measured("exported")
        folder = study.path / "exports" / f"{variant.id}-{format}"
        busy = Message(f"Exporting {variant.name}, then reading it back.", "busy")
        self.store.update(exporting=variant.id, message=busy)

        def work() -> None:
            try:
                manifest = export(variant, folder, format)
            finally:
                self.store.update(exporting="")
            self.store.edit(lambda s: study_state.exported(s, variant, manifest))

        self.background.spawn(work)

    def diagnose(self) -> None:
        """Find out what the chosen variant does otherwise than the original, in the background."""
        study, variant = self._measured("diagnosed")
        self.background.spawn(lambda: self._running.diagnose(study, variant))

    def bisect(self) -> None:
        """Find the layers that explain what the chosen variant loses, in the background."""
        study, variant = self._measured("diagnosed")
        self.background.spawn(lambda: self._running.bisect(study, variant))

    def answers(self) -> None:
        """Compare the chosen variant with the one beside it class by class and image by image, in the background."""
        study, second = self._measured("compared")
        first = self.store.state.variant(self.store.state.compared)
        if first is None:
            raise BadValue("There is nothing to compare with. Choose another variant first.")
        self.background.spawn(lambda: self._running.compare(study, first, second))

    def answers_beside(self) -> None:
        """Compare each of those side by side with the first of them, class by class and image by image."""
        study, beside = self.store.state.study, self.store.state.beside
        if study is None or len(beside) < 2:
            raise BadValue("Choose two variants or more in the table first.")
        first, *others = (study[one] for one in beside)
        missing = [one for one in others if (first.id, one.id) not in dict(self.store.state.comparisons)]

        def work() -> None:
            for one in missing:
                self._running.compare(study, first, one)

        self.background.spawn(work)

    def restore(self, layers: list[str]) -> None:
        """Put the chosen variant's recipe into the editor, with these layers left as they are in the original."""
        variant = self._variant()
        recipe = variant.recipe.without(tuple(layers), variant.model)
        said = Message(f"{', '.join(layers)} stay as in the original. Run the recipe to measure it.")
        self.store.edit(lambda s: replace(editing.take(s, recipe), message=said))

    # --- what the visitor says of a variant

    def rename(self, name: str) -> None:
        """Call the chosen variant otherwise; "" gives it the name of its recipe back."""
        self._label("renamed", lambda study, variant: study.rename(variant, name))

    def tag(self, tags: str) -> None:
        """Give the chosen variant these tags, with commas between, in the place of those that it has."""
        wanted = [one.strip() for one in tags.split(",") if one.strip()]

        def change(study: Study, variant: Variant) -> None:
            study.tag(variant, *wanted)  # first: one that cannot be used leaves the others as they are
            gone = [one for one in variant.tags if one not in wanted]
            if gone:
                study.untag(variant, *gone)

        self._label("tagged", change)

    def annotate(self, text: str) -> None:
        """Write a text beside the chosen variant."""
        self._label("annotated", lambda study, variant: study.annotate(variant, text))

    def archive(self, on: bool) -> None:
        """Put the chosen variant aside, or back."""
        self._label("archived", lambda study, variant: study.archive(variant, on))

    def delete(self) -> None:
        """Take the chosen variant out of the study, with its files."""
        self._label("deleted", lambda study, variant: study.delete(variant))

    def _label(self, verb: str, change: Callable[[Study, Variant], None]) -> None:
        study, variant = self._measured(verb)

        def work() -> None:
            change(study, variant)
            self.store.edit(lambda s: study_state.labelled(s, study))

        self.background.spawn(work)

    def _variant(self) -> Variant:
        state = self.store.state
        variant = state.variant(state.selected)
        if variant is None:
            raise BadValue("No variant is chosen. Choose one in the table first.")
        return variant

    def _measured(self, verb: str) -> tuple[Study, Variant]:
        """The study and the chosen variant, which must have its file here."""
        study, variant = self.store.state.study, self._variant()
        if study is None or study.find(variant.recipe) is None:
            raise BadValue(
                f"{variant.name} was measured elsewhere: its file is not here, and cannot be {verb}. "
                "Measure it here first."
            )
        return study, variant
