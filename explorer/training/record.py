"""`Progress`, which a training yields, and `TrainingRecord`, which it leaves behind."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

from explorer.numbers import finite
from explorer.training.config import TrainingConfig
from explorer.training.dials import DialChange

Outcome = Literal["finished", "diverged"]


@dataclass(frozen=True)
class Evaluation:
    """Mean cross-entropy and share of right predictions over `n` pictures."""

    loss: float
    accuracy: float
    n: int


@dataclass(frozen=True)
class EpochResult:
    """One line of the training curve. `train` is the running mean over the epoch's own batches, in training mode."""

    step: int
    seconds: float
    learning_rate: float
    train: Evaluation
    validation: Evaluation | None

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The result that `dataclasses.asdict` described."""
        validation = Evaluation(**values["validation"]) if values["validation"] else None
        return cls(**{**values, "train": Evaluation(**values["train"]), "validation": validation})


@dataclass(frozen=True)
class GradientSizes:
    """L2 norm of the loss's gradient for the weights of each layer, before clipping, at some steps.

    `norms` holds one tuple for each of `steps`, in the order of `layers` (dotted names, from input to output). Step 0
    is the gradient of the first batch at the initial weights.
    """

    layers: tuple[str, ...]
    steps: tuple[int, ...]
    norms: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class TrainingRecord:
    """Everything about a finished training beside the weights.

    `steps` are those that it took; where it diverged, those after which that was detected. `batchnorm_images` counts
    the pictures over which the running statistics of BatchNorm were recomputed at the end, 0 where they were not.
    `config` is that of the start; `changes` are the dials that were turned while it trained.
    """

    config: TrainingConfig
    outcome: Outcome
    steps: int
    seconds: float
    images_per_second: float
    parameters: int
    train_images: int
    epochs: tuple[EpochResult, ...]
    weight_gradients: GradientSizes
    device: str
    precision: str
    threads: int
    versions: dict[str, str] = field(default_factory=dict)
    batchnorm_images: int = 0
    changes: tuple[DialChange, ...] = ()

    @property
    def passes(self) -> float:
        """Times through the training pictures."""
        return self.steps * min(self.config.batch_size, self.train_images) / self.train_images

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, numbers rounded to 6 significant digits, but not those of the config's changes."""
        values = finite({**asdict(self), "config": self.config.to_dict()}, 6)
        if self.changes:
            return {**values, "changes": [change.to_dict() for change in self.changes]}
        del values["changes"]  # left out, so that other files are saved with the same bytes as before
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The record that `to_dict` described."""
        epochs = tuple(map(EpochResult.from_dict, values["epochs"]))
        sizes = values["weight_gradients"]
        gradients = GradientSizes(tuple(sizes["layers"]), tuple(sizes["steps"]), tuple(map(tuple, sizes["norms"])))
        config = TrainingConfig.from_dict(values["config"])
        changes = tuple(map(DialChange.from_dict, values.get("changes", ())))
        return cls(**{**values, "config": config, "epochs": epochs, "weight_gradients": gradients, "changes": changes})


@dataclass(frozen=True)
class NetworkProgress:
    """One network of a training.

    `loss` and `accuracy` are means over its batches since the last `Progress`, in training mode; `validation` is there
    where an epoch has just ended and the dataset has validation pictures; `gradients` are all sizes measured so far;
    `outcome` is None while it trains.
    """

    loss: float
    accuracy: float
    gradients: GradientSizes
    validation: Evaluation | None = None
    outcome: Outcome | None = None


@dataclass(frozen=True)
class Progress:
    """A training at one moment, with one `NetworkProgress` for each network, in their order.

    `fraction` runs from 0 to 1 along the budget; `seconds` have passed since the start; `images_per_second` counts
    training pictures, each going through every network. `validates_next` announces a validation or new statistics of
    BatchNorm, which may take long: save the state now. `records` hold one `TrainingRecord` for each network on the last
    `Progress` only.
    """

    step: int
    epoch: int
    fraction: float
    seconds: float
    images_per_second: float
    learning_rate: float
    networks: tuple[NetworkProgress, ...]
    validates_next: bool = False
    records: tuple[TrainingRecord, ...] = ()
