"""What tasks train with: losses on labels, and distances from what the original answers."""

from __future__ import annotations

import torch
from torch.nn import functional

from workbench.errors import BadValue

Tensor = torch.Tensor


def like(labels: Tensor, outputs: Tensor) -> Tensor:
    """Labels in the shape of outputs, where they hold as many numbers an input. Raises: `BadValue`."""
    if labels.numel() != outputs.numel():
        raise BadValue(
            f"The network gives {tuple(outputs.shape[1:])} for an input, and its label is {tuple(labels.shape[1:])}."
        )
    return labels.reshape(outputs.shape).to(outputs.dtype)


def softened(axis: int):  # type: ignore[no-untyped-def]  # of tensors and a float, as below
    """KL divergence of the softened classes along an axis, times the squared temperature (Hinton et al. 2015).

    The mean over inputs and over the places of each, such as pixels.
    """

    def taught(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        wanted = (teacher / temperature).log_softmax(axis)
        given = (student / temperature).log_softmax(axis)
        distance = (wanted.exp() * (wanted - given)).sum(axis)
        return distance.mean() * temperature**2

    return taught


def near(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:  # values are not softened
    """Squared difference of two outputs, relative to the teacher's (Romero et al. 2015, eq. 3)."""
    return functional.mse_loss(student, teacher) / teacher.square().mean().clamp_min(1e-12)


def as_logits(outputs: Tensor) -> Tensor:
    """Scores of independent labels as logits: those that all lie within 0 and 1 are probabilities."""
    sure = outputs.detach()
    if len(outputs) and bool(sure.min() >= 0) and bool(sure.max() <= 1):
        return outputs.clamp(1e-6, 1 - 1e-6).logit()
    return outputs


def independent(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """The same for labels that do not exclude each other: KL divergence of each one's softened probability."""
    wanted, given = (as_logits(one) / temperature for one in (teacher, student))
    sure = wanted.sigmoid()
    distance = functional.binary_cross_entropy_with_logits(given, sure)
    own = functional.binary_cross_entropy_with_logits(wanted, sure)
    return (distance - own) * temperature**2


def closest(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """For outputs of which nobody says what they are: as scores of classes (N, classes), else as values."""
    if student.dim() == 2 and student.shape[1] > 1:
        found: Tensor = softened(1)(student, teacher, temperature)
        return found
    return near(student, teacher, temperature)
