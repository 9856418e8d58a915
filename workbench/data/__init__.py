"""Data sets: named splits of images and labels."""

from workbench.data.dataset import SPLITS, Data, Split
from workbench.data.door import data
from workbench.data.preprocess import Preprocess
from workbench.interface.callable_module import make_callable

__all__ = ["SPLITS", "Data", "Preprocess", "Split", "data"]

make_callable(__name__, "data")
