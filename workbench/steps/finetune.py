"""`Finetune`: train a rewritten network on the training split, against the labels and its own original."""

from __future__ import annotations

import copy
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn

from workbench.cost.network import Network
from workbench.cost.weights import Weights
from workbench.errors import Cancelled, StepFailed
from workbench.modules.calling import answer, call, tensors_map
from workbench.settings import decades, doublings
from workbench.step import Context, Decision, Plan, Rewrite, row, select, setting
from workbench.tasks.entropy import known_labels
from workbench.training.answers import answers_of
from workbench.training.augment import AUGMENTATIONS
from workbench.training.checkpoint import Checkpoint
from workbench.training.constraints import KeepZeros, LowRank
from workbench.training.distill import METHODS, Distillation, common_layers
from workbench.training.loop import OPTIMIZERS, Diverged, Settings, Trainer, move, place
from workbench.training.schedule import SCHEDULES

if TYPE_CHECKING:
    from workbench.data import Split

#: Terms on feature maps are added to soft targets, as their papers do; they name the layers they compare.
ON_MAPS = frozenset({"hints", "attention", "relational"})
#: Times as many images in the largest class as in the smallest that are worth a word.
IMBALANCE = 3.0
#: Shares, for weights that are seldom larger.
TWENTIETHS = tuple(n / 20 for n in range(21))


@dataclass(frozen=True)
class Finetune(Rewrite):
    """Train on the training split; keep the best weights on validation, those at the start included.

    What labels teach, and what is best, follow from the study's task: cross entropy of classes, pixels or tokens,
    binary cross entropy of labels, squared or absolute error of values, CTC of texts. Without labels, or with boxes,
    the original alone teaches.

    The original network teaches: `"logits"` squared difference of the logits (Ba & Caruana 2014), `"soft"`
    softened outputs (Hinton et al. 2015), `"hints"` feature maps through regressors (Romero et al. 2015),
    `"attention"` maps of mean squared channels (Zagoruyko & Komodakis 2017), `"relational"` distances and
    angles among the images of a batch (Park et al. 2019), `"none"` labels alone. Weights that are zero stay
    zero. On CUDA where torch sees it.
    """

    title: ClassVar[str] = "Fine-tune"
    summary: ClassVar[str] = "Train the rewritten network, taught by the original: wins most of what was lost back."
    family: ClassVar[str] = "recovery"
    settles_norms: ClassVar[bool] = True

    epochs: int = setting(3, "integer", "Passes over the training images.", low=1, high=200, stops=decades(1, 200))
    distill: str = setting("soft", "choice", "What the original network teaches.", choices=METHODS)
    lr: float = setting(0.01, "number", "Learning rate at its highest.", low=1e-6, high=1.0, stops=decades(1e-6, 1.0))
    optimizer: str = setting("sgd", "choice", "SGD with Nesterov momentum, or Adam.", choices=OPTIMIZERS)
    schedule: str = setting("one-cycle", "choice", "How the learning rate moves.", choices=SCHEDULES)
    warmup: float = setting(0.0, "fraction", "Share of the steps over which the rate rises.", low=0.0, high=0.5)
    teacher: float = setting(
        0.9, "number", "Weight of what the original teaches.", low=0.0, high=1000.0, stops=TWENTIETHS
    )
    labels: float = setting(0.1, "number", "Weight of the loss on the labels.", low=0.0, high=1000.0, stops=TWENTIETHS)
    temperature: float = setting(3.0, "number", "How far outputs are softened, for 'soft'.", low=0.5, high=20.0)
    compare: str | tuple[str, ...] = setting(
        "auto", "layers", "Layers whose outputs are compared by hints, attention and relational; auto: stage ends."
    )
    augment: str = setting("shift+flip", "choice", "Mild changes of the images.", choices=AUGMENTATIONS)
    balance: bool = setting(False, "flag", "Weigh classes by the inverse of their number of images.")
    patience: int = setting(
        0, "integer", "Epochs without progress before it stops; 0: never.", low=0, high=100, stops=range(21)
    )
    low_rank: float = setting(
        0.0, "fraction", "Pull towards low rank, so that a later factorization loses less.", low=0.0, high=1.0
    )
    batch: int = setting(64, "integer", "Images a step.", low=2, high=4096, stops=doublings(2, 4096))
    weight_decay: float = setting(1e-4, "number", "Weight decay.", low=0.0, high=0.1, stops=(0.0, *decades(1e-6, 0.1)))
    precision: str = setting(
        "auto",
        "choice",
        "Arithmetic of training; auto: bfloat16 where it pays.",
        choices=("auto", "float32", "bfloat16"),
    )

    @property
    def effort(self) -> float:
        """That of its epochs."""
        return 30.0 * self.epochs

    def plan_on(self, network: Network, weights: Weights) -> Plan:
        """No shape changes; a row for each layer with weights."""
        how = "labels alone" if self.distill == "none" else f"taught by the original ({self.distill})"
        times = f"{self.epochs} epoch{'s' * (self.epochs > 1)}"
        rows = tuple(
            row(self.brief, ops[0], Decision.TRAINED, {"times": times, "how": how})._replace(
                macs=sum(op.macs for op in ops), macs_after=sum(op.macs for op in ops)
            )
            for ops in network.by_module.values()
        )
        return Plan(network, network, rows)

    def apply(self, module: nn.Module, context: Context) -> nn.Module:
        """A trained copy. Raises: `StepFailed` without training images, `Diverged`, `Cancelled`."""
        if context.train is None:
            raise StepFailed(
                f"{self.expression()} trains, and the data have no split 'train'. "
                "Give one: wb.data({'train': ..., 'test': ...})."
            )
        student = copy.deepcopy(module)
        trainer = self._trainer(student, context)
        try:
            history = trainer.fit(context.progress)
        except Diverged as error:
            raise Diverged(f"{self.expression()}: {error}.{self._kept(student, context)}") from error
        except Cancelled as error:
            raise Cancelled(f"{error}{self._kept(student, context)}") from error
        if history.best == 0 and context.validation is not None:
            context.progress.note(f"{self.brief} found nothing better than the weights it began with; try another lr.")
        return student.eval()

    def _trainer(self, student: nn.Module, context: Context) -> Trainer:
        assert context.train is not None
        task, on_labels = context.task, context.train.labelled and context.task.loss is not None
        balance = self._class_weights(student, context.train, context) if task.classes and on_labels else None
        teaching = self._teaching(student, context)
        if teaching is None and not on_labels:
            raise StepFailed(self._nothing(context))
        if context.train.labelled and not on_labels:
            context.progress.note(f"Labels of a {task.title} are not trained on: the original alone teaches.")
        zeros, low_rank = KeepZeros(student), LowRank(student, self.low_rank)

        def loss(x: torch.Tensor, labels: Any) -> torch.Tensor:
            if teaching is None:
                return task.on(call(student, x), labels, balance)
            outputs, term = teaching(x, self.temperature)
            own = self.labels * task.on(outputs, labels, balance) if on_labels else 0.0
            total: torch.Tensor = own + self.teacher * term
            return total

        return Trainer(
            student, loss, context.train, context.validation, self._settings(context.seed), task, context.original,
            checkpoint=self._checkpoint(student, context), extra=teaching or nn.Module(),
            after_step=zeros, after_epoch=low_rank,
        )  # fmt: skip

    def _settings(self, seed: int) -> Settings:
        return Settings(
            epochs=self.epochs, lr=self.lr, batch=self.batch, optimizer=self.optimizer, schedule=self.schedule,
            warmup=self.warmup, weight_decay=self.weight_decay, patience=self.patience,
            augmentation=self.augment, precision=self.precision, seed=seed,
        )  # fmt: skip

    def _teaching(self, student: nn.Module, context: Context) -> Distillation | None:
        if self.distill == "none" or self.teacher == 0:
            return None
        if context.original is None:
            raise StepFailed(f"{self.expression()} needs the original network as a teacher. Use distill='none'.")
        layers: tuple[str, ...] = ()
        if self.distill in ON_MAPS:
            common = common_layers(student, context.original, context.example)
            layers = common if self.compare == "auto" else select(self.compare, common_names(student, context.original))
            if not layers:
                raise StepFailed(f"{self.expression()}: no layer gives maps of one size in both networks to compare.")
        teacher = copy.deepcopy(context.original)
        answers = answers_of(context.original)
        teaching = Distillation(self.distill, (student, teacher), context.task, layers, context.example, answers)
        move(teacher, place("auto"), torch.channels_last)
        return teaching

    def _nothing(self, context: Context) -> str:
        """Why there is nothing to learn from."""
        assert context.train is not None
        title = context.task.title
        why = f"labels of a {title} are not trained on" if context.train.labelled else "there are no labels"
        return (
            f"{self.expression()} has nothing to learn from: {why}, and the original does not teach. "
            "Use distill='soft'."
        )

    @torch.no_grad()
    def _class_weights(self, student: nn.Module, split: Split, context: Context) -> torch.Tensor | None:
        outputs = answer(student.eval(), tensors_map(torch.clone, context.example)).shape[1:]
        known = known_labels((len(split), *outputs), split.labels, f"split {split.name!r}")
        counts = torch.bincount(known[known >= 0].flatten(), minlength=outputs[0]).double()
        present = counts[counts > 0]
        if not len(present):
            return None
        if self.balance:
            return (present.mean() / counts.clamp_min(1)).float().to(place("auto"))
        if present.max() > IMBALANCE * present.min():
            context.progress.note(
                f"The training classes have between {int(present.min())} and {int(present.max())} images: "
                "Finetune(balance=True) gives each the same weight."
            )
        return None

    def _checkpoint(self, student: nn.Module, context: Context) -> Checkpoint | None:
        if context.folder is None:
            return None
        shapes = {name: tuple(value.shape) for name, value in student.state_dict().items()}
        key = hashlib.sha256(f"{self.expression()} {context.seed} {shapes}".encode()).hexdigest()
        return Checkpoint(context.folder / "finetune.safetensors", key)

    def _kept(self, student: nn.Module, context: Context) -> str:
        """Write the best weights so far where they can be loaded from, and say so."""
        if context.keep is None:
            return ""
        path = context.keep(student.eval(), "best.safetensors")
        return f" The best weights so far are in {path}; wb.load reads them."


def common_names(student: nn.Module, teacher: nn.Module) -> list[str]:
    """The paths of modules that both networks have."""
    own = dict(student.named_modules())
    return [name for name, _ in teacher.named_modules() if name and name in own]
