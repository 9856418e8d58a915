"""What went wrong in a variant: which layer, which step, which classes, which images."""

from workbench.diagnosis.answers import Answers
from workbench.diagnosis.bench import Bench
from workbench.diagnosis.bisection import Bisection, bisect, least_set
from workbench.diagnosis.comparison import Comparison, compare
from workbench.diagnosis.diagnose import Diagnosis, diagnose
from workbench.diagnosis.layers import LayerError, layer_errors
from workbench.diagnosis.sensitivity import Sensitivity, sensitivity

__all__ = [
    "Answers", "Bench", "Bisection", "Comparison", "Diagnosis", "LayerError", "Sensitivity", "bisect", "compare",
    "diagnose", "layer_errors", "least_set", "sensitivity",
]  # fmt: skip
