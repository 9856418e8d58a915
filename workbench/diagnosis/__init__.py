"""What went wrong in a variant: which layer, which step, which classes, which images."""

from workbench.diagnosis.answers import Answers
from workbench.diagnosis.bisection import Bisection, bisect, least_set
from workbench.diagnosis.comparison import Comparison, compare
from workbench.diagnosis.diagnose import Diagnosis, diagnose
from workbench.diagnosis.evaluator import Evaluator
from workbench.diagnosis.layer_errors import LayerError, layer_errors
from workbench.diagnosis.sensitivity import Sensitivity, sensitivity

__all__ = [
    "Answers",
    "Bisection",
    "Comparison",
    "Diagnosis",
    "Evaluator",
    "LayerError",
    "Sensitivity",
    "bisect",
    "compare",
    "diagnose",
    "layer_errors",
    "least_set",
    "sensitivity",
]  # fmt: skip
