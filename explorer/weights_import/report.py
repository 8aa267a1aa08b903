"""The report on a file of weights: its readings, and the evidence for them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from torch import Tensor

from explorer.architectures import ArchitectureSpec, Network, describe
from explorer.checkpoints import Checkpoint
from explorer.labels import numbered_classes

SHOWN = 80  # letters of a name
EXPORT = (
    'torch.onnx.export(model.eval(), torch.zeros(1, 3, 224, 224), "network.onnx", dynamo=True, external_data=False)'
)
WAY_OUT = f"any CNN can be brought as ONNX: `{EXPORT}`."
"""The end of each sentence that refuses a file, as the way that is left."""


class WeightsError(ValueError):
    """A file that cannot be loaded, or not without guessing; the message is one sentence for a person."""


class NoFileError(WeightsError):
    """It is not for the file that nothing is read: it is not there, or this machine cannot."""


def with_way_out(sentence: str) -> str:
    """The sentence with `WAY_OUT` as its end."""
    return f"{sentence.removesuffix('.')}; {WAY_OUT}"


def printable(text: object) -> str:
    """Text of a file in one line of 80 characters; `?` stands for those that steer a terminal or reorder the text."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in str(text)[:400]).replace("`", "'")
    return shown if len(shown) <= SHOWN else f"{shown[: SHOWN - 21]}...{shown[-18:]}"


def quote(text: object) -> str:
    """The same in backticks."""
    return f"`{printable(text)}`"


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation that normalise the input of a network: R, G, B, or grey, of pixels on the scale 0..1.

    A command takes `name`, a page shows `title`.
    """

    name: str
    title: str
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def of(self, channels: int) -> "Normalisation":
        """The same for so many channels: grey ones take the mean of the three, as timm's networks of one channel do."""
        if len(self.mean) == channels:
            return self
        mean, std = ((sum(values) / len(values),) * channels for values in (self.mean, self.std))
        return replace(self, mean=mean, std=std)

    def for_json(self) -> dict[str, Any]:
        return asdict(self)


NORMALISATIONS: dict[str, Normalisation] = {
    entry.name: entry
    for entry in (
        Normalisation("imagenet", "ImageNet", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        Normalisation("cifar10", "CIFAR-10", (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
        # The mean over pictures of each picture's own spread: not the data's, but many networks were trained with it.
        Normalisation("cifar10-2023", "CIFAR-10 with std 0.2023", (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
        Normalisation("cifar100", "CIFAR-100", (0.5070, 0.4865, 0.4409), (0.2673, 0.2564, 0.2761)),
        Normalisation("mnist", "MNIST", (0.1307, 0.1307, 0.1307), (0.3081, 0.3081, 0.3081)),
        Normalisation("half", "-1..1", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        Normalisation("none", "none, 0..1", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
        Normalisation("bytes", "0..255", (0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255)),
        Normalisation("caffe", "0..255, mean taken away", (0.485, 0.456, 0.406), (1 / 255, 1 / 255, 1 / 255)),
    )
}


@dataclass(frozen=True, eq=False)
class Reading:
    """One complete interpretation of a file: a network with all of its weights, under our names.

    `state` is complete for `Network(spec).load_state_dict`: every tensor, float32 (counters int64), no other. Its
    source is known to use `normalisation`, and `normalisation_reason` says why it is assumed. `uncertain` are sentences
    on facts that names and shapes do not tell. `class_names` are None if unknown. `own_checkpoint` is the content of a
    file of this app. `is_likelier` says whether the evidence supports it against other readings of the same weights.
    """

    title: str
    spec: ArchitectureSpec
    state: Mapping[str, Tensor]
    normalisation: Normalisation
    normalisation_reason: str = ""
    uncertain: tuple[str, ...] = ()
    class_names: tuple[str, ...] | None = None
    own_checkpoint: Checkpoint | None = None
    is_likelier: bool = False

    @property
    def resize_shorter_to(self) -> int | None:
        """As in `Checkpoint`. Networks for 224 pixels are trained on the middle of pictures whose shorter side has
        become 256."""
        if self.own_checkpoint is not None:
            return self.own_checkpoint.resize_shorter_to
        return 256 if max(self.spec.input_shape) == 224 else None

    def network(self) -> Network:
        """The network, frozen; it shares the memory of `state`."""
        network = Network.without_values(self.spec)
        network.load_state_dict(dict(self.state), strict=True, assign=True)
        return network.freeze()

    def checkpoint(
        self, data: str, normalisation: Normalisation | None = None, class_names: tuple[str, ...] | None = None
    ) -> Checkpoint:
        """The network as a checkpoint of this app, by default with the values of the reading; unknown classes are
        numbered. `data` names the training data. A file of this app keeps its own data and training, and with its own
        normalisation its metrics too.

        Raises ValueError where there are too few or too many `class_names`.
        """
        normalisation = (normalisation or self.normalisation).of(self.spec.input_shape[0])
        mean, std = normalisation.mean, normalisation.std
        class_names = class_names or self.class_names or numbered_classes(self.spec.classes)
        own = self.own_checkpoint
        if own is not None:
            metrics = own.metrics if (mean, std) == (own.mean, own.std) else {}
            return replace(own, class_names=class_names, mean=mean, std=std, metrics=metrics)
        return Checkpoint(self.network(), class_names, mean, std, data, resize_shorter_to=self.resize_shorter_to)

    def for_json(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "more_likely": self.is_likelier,
            "network": self.spec.name,
            "depth": self.spec.depth,
            "parameters": describe(self.spec).parameters,
            "classes": self.spec.classes,
            "input_shape": self.spec.input_shape,
            "normalisation": self.normalisation.for_json(),
            "normalisation_reason": self.normalisation_reason,
            "uncertain": self.uncertain,
            "class_names": self.class_names,
            "spec": self.spec.to_dict(),
        }


@dataclass(frozen=True, eq=False)
class Report:
    """The result of reading a file.

    `readings` holds one, or several where the file alone cannot decide; then `question` asks the user. `family` names
    the origin of the layout. `evidence` are sentences on the names and shapes that were recognised. `renamed` are pairs
    (their name, our name), `ignored` are names in the file that no reading uses; `evidence` has the reasons.
    """

    name: str
    family: str
    readings: tuple[Reading, ...]
    evidence: tuple[str, ...]
    renamed: tuple[tuple[str, str], ...]
    ignored: tuple[str, ...]
    question: str | None = None

    def for_json(self) -> dict[str, Any]:
        """The report as JSON. What is assumed stands with each reading, and of the first one again at the top."""
        readings = [reading.for_json() for reading in self.readings]
        return {
            **{key: getattr(self, key) for key in ("name", "family", "question", "evidence", "renamed", "ignored")},
            "readings": readings,
            **{key: readings[0][key] for key in ("normalisation", "normalisation_reason", "uncertain", "class_names")},
        }
