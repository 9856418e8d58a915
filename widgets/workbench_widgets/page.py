"""The two widgets that reach the page: the module that is loaded once, and a panel that it draws."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import anywidget
import traitlets

_STATIC = Path(__file__).parent / "static"
_SCREEN = (_STATIC / "screen.js").read_text(encoding="utf-8")
_VERSION = re.match(r"/\* sources (\w+)", _SCREEN).group(1)  # type: ignore[union-attr]  # the build writes it

#: A panel waits for the page's module, whichever of the two arrives first.
_PANEL = f"""
const key = "workbench-screen-{_VERSION}";
function page() {{
  if (!globalThis[key]) {{
    let ready;
    const promise = new Promise((resolve) => (ready = resolve));
    globalThis[key] = {{ promise, ready }};
  }}
  return globalThis[key].promise;
}}
export default {{ render: async ({{ model, el }}) => (await page()).mount(model, el) }};
"""

#: What a panel shows: one of the shapes in `seam`, or the sentence that says why it cannot be shown.
View = Mapping[str, object]
#: (action, detail) of what the user did in a panel.
Action = Callable[[str, dict[str, Any]], None]


class Loader(anywidget.AnyWidget):
    """Brings Vega, the panels and their style to the page, once for all panels of a screen."""

    _esm = _SCREEN
    _css = (_STATIC / "screen.css").read_text(encoding="utf-8")


class Panel(anywidget.AnyWidget):
    """One region of the screen. It shows `view` and passes on what the user does; it knows nothing else."""

    _esm = _PANEL
    panel = traitlets.Unicode().tag(sync=True)
    view = traitlets.Dict().tag(sync=True)
    selected = traitlets.Unicode().tag(sync=True)  # apart, so that a choice sends no rows again

    def __init__(self, panel: str, view: View, act: Action) -> None:
        super().__init__(panel=panel, view=view)
        self._act = act
        self.add_class(f"t-panel-{panel}")
        self.on_msg(self._receive)

    def _receive(self, _widget: Any, content: dict[str, Any], buffers: list[memoryview]) -> None:
        detail = {key: value for key, value in content.items() if key != "action"}
        if buffers:
            detail["content"] = bytes(buffers[0])
        self._act(str(content.get("action")), detail)
