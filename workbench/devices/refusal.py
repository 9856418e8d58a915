"""What a device, or whoever pretends to be one, is refused: a sentence for its screen and for the desk."""

from __future__ import annotations

from workbench.errors import WorkbenchError


class Refused(WorkbenchError):
    """Something that a device asked for or sent is not taken; `status` is HTTP's number for it."""

    def __init__(self, sentence: str, status: int = 400) -> None:
        super().__init__(sentence)
        self.status = status
