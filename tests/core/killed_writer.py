"""Store variants, one in each of many processes that are killed at one moment after another; say what was finished.

    python killed_writer.py PLACE ADDRESS

Prints, for every moment, what the process had announced before it died and what the study held afterwards.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
from pathlib import Path

import sqlalchemy as sa
from test_records import files, record

from workbench.studies.records import Record
from workbench.studies.storage import Storage

EVENTS = frozenset({"open", "os.rename", "os.remove", "os.mkdir", "os.link", "sqlite3.connect"})


def opened(place: Path, address: str) -> Storage:
    return Storage(place / "study", address, place / "files")


def child(place: Path, address: str, moment: int) -> None:
    """One variant of the process's own, and one that all make; killed before the n-th thing that it does."""
    storage, made = opened(place, address), files(place / f"made {moment}", f"graph {moment}", f"weights {moment}")
    left = itertools.count(moment - 1, -1)

    def happens(name: str, *_: object) -> None:
        if name in EVENTS and next(left) == 0:
            os._exit(9)

    sys.addaudithook(happens)
    for event in ("before_cursor_execute", "commit"):
        sa.event.listen(sa.Engine, event, lambda *_: happens("open"))
    storage.store(record(f"own {moment}"), *made)
    (place / "log").open("a").write(f"own {moment}\n")
    storage.store(record("shared", moment / 1000), *files(place / f"made {moment}", "shared", f"by {moment}"))
    (place / "log").open("a").write("shared\n")
    os._exit(0)


def main() -> None:
    place, address = Path(sys.argv[1]), sys.argv[2]
    opened(place, address)
    for moment in itertools.count(1):
        if os.fork() == 0:
            child(place, address, moment)
        ended = os.waitstatus_to_exitcode(os.wait()[1])
        log = place / "log"
        finished = sorted(set(log.read_text().split("\n")) - {""}) if log.exists() else []
        storage = opened(place, address)
        found = storage.records()
        whole = [one.id for one in found if isinstance(one, Record) and storage.whole(one)]
        print(json.dumps({"ended": ended, "finished": finished, "found": len(found), "whole": whole}))
        if ended == 0 or moment == 200:
            return


if __name__ == "__main__":
    main()
