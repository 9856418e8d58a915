"""The fronts that searches found, a picture each: accuracy against measured speed.

python benchmarks/search.py --minutes 20 --train --folder studies
python benchmarks/front_charts.py studies docs/images
"""

from __future__ import annotations

import argparse
from pathlib import Path

import altair as alt

import workbench as wb
from workbench import charts

#: Accuracy further below the original's than this is left out of the picture.
DEEPEST = 0.04


def front(folder: Path) -> alt.LayerChart:
    network = folder.name
    study = wb.Study(wb.load(network), wb.data("fashion-mnist"), folder)
    frame = study.frame()
    frame = frame[frame["accuracy"] >= study.baseline["accuracy"].value - DEEPEST]
    chart = charts.tradeoff(frame, log=("x",))
    return chart.properties(width=300, height=260, title=network)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the --folder of search.py")
    parser.add_argument("pictures", type=Path, help="the folder that they are written to")
    given = parser.parse_args()
    for folder in sorted(one for one in given.folder.iterdir() if one.is_dir()):
        picture = given.pictures / f"front-{folder.name}.png"
        front(folder).properties(background="white").save(picture, ppi=110)
        print(picture)


if __name__ == "__main__":
    main()
