"""The fronts that searches found, as a picture: accuracy against measured speed, network by network.

python benchmarks/search.py --minutes 20 --train --folder studies
python benchmarks/front_charts.py studies docs/images/fronts.png
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
    parser.add_argument("picture", type=Path)
    given = parser.parse_args()
    folders = sorted(one for one in given.folder.iterdir() if one.is_dir())
    drawn = alt.hconcat(*map(front, folders), background="white").resolve_scale(size="independent")
    drawn.save(given.picture, ppi=130)
    print(f"{given.picture}: {', '.join(one.name for one in folders)}")


if __name__ == "__main__":
    main()
