"""The ready-made studies: textbook questions, each with a training that suits a slow machine."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from explorer.intervals import Mean
from explorer.studies.study import Axis, Study

CLASSES = ("ring", "cross", "star", "arrow")
SIDE, WIDTH, BATCH = 16, 8, 64
DATA = {"kind": "shapes", "size": SIDE, "classes": list(CLASSES)}


@dataclass(frozen=True)
class ReadyMade:
    """A study with its `title`, the `question` that it asks, and what to look at, `note`; `make` gives the study."""

    title: str
    question: str
    note: str
    make: Callable[[], Study]


def _study(
    name: str,
    *axes: Axis,
    epochs: int = 6,
    seeds: tuple[int, ...] = (0, 1, 2),
    depth: int = 20,
    learning_rate: float = 0.1,
) -> Study:
    """On four drawn shapes of 16 pixels; trainings by epochs, so that a second study ends with the same bits."""
    from explorer.presets import cifar  # here: the process of a study needs no torch
    from explorer.training import TrainingConfig

    return Study(
        name=name,
        spec=cifar(depth, classes=len(CLASSES), size=SIDE, width=WIDTH).to_dict(),
        config=TrainingConfig(
            epochs=epochs, batch_size=BATCH, learning_rate=learning_rate, augment=False, precision="float32"
        ).to_dict(),
        data=DATA,
        axes=axes,
        seeds=seeds,
    )


TWINS = Axis("shortcut", ("none", "identity"))


def _degradation() -> Study:
    return _study("Degradation", Axis("depth", (20, 32, 44, 56, 110)), TWINS, seeds=(0,))


def _when() -> Study:
    return _study("When does a shortcut help?", Axis("depth", (8, 20, 56)), TWINS)


def _norm() -> Study:
    return _study("Norm or shortcut?", Axis("norm", ("batch", "none")), TWINS, learning_rate=0.02)


def _which() -> Study:
    kinds = ("none", "identity", "projection", "identity*0.5")
    return _study("Which shortcut?", Axis("shortcut", kinds), depth=32)


def _hybrid() -> Study:
    kinds = ("none", "identity", "identity,none,none", "none,identity,none", "none,none,identity")
    return _study("Hybrid: shortcuts in which stages?", Axis("shortcut", kinds), depth=32)


def _rate() -> Study:
    rates = Axis("learning_rate", (0.01, 0.03, 0.1, 0.3))
    return _study("Learning rate against depth", Axis("depth", (8, 20, 32)), rates, TWINS, epochs=4, seeds=(0,))


READY_MADE: dict[str, ReadyMade] = {
    "degradation": ReadyMade(
        "Degradation",
        "Does a deeper plain network reach a higher training error, and a ResNet not?",
        "He et al. 2015, figure 6, asked this on CIFAR-10 with 64,000 steps. Here the pictures are easier and the "
        "training is far shorter; one seed gives no interval.",
        _degradation,
    ),
    "shortcut-depth": ReadyMade(
        "When does a shortcut help?",
        "From which depth on does the ResNet learn more than its plain twin?",
        "Look at the paired differences: three seeds give an interval at each depth.",
        _when,
    ),
    "norm": ReadyMade(
        "Norm or shortcut?",
        "Do shortcuts replace BatchNorm, or add to it?",
        "The learning rate is low, so that networks without BatchNorm do not diverge. The plain one may stay at "
        "chance.",
        _norm,
    ),
    "which-shortcut": ReadyMade(
        "Which shortcut?",
        "Are projections (option B) better than identities (option A), and is half a shortcut worse than a whole one?",
        "Projections have parameters of their own, so their networks are no twins of the plain one.",
        _which,
    ),
    "hybrid": ReadyMade(
        "Hybrid",
        "Which stages need the shortcuts?",
        "Each hybrid has them in one of its three stages only.",
        _hybrid,
    ),
    "learning-rate": ReadyMade(
        "Learning rate against depth",
        "Is the best learning rate another one for deeper networks, and for those without shortcuts?",
        "One seed: look at the order of the rates, not at small differences.",
        _rate,
    ),
}
"""The ready-made studies by name."""


def ready_made(name: str) -> Study:
    """The study of that name. Raises ValueError that lists all names."""
    if name not in READY_MADE:
        raise ValueError(f"there is no study {name[:80]!r}; choose one of {', '.join(READY_MADE)}.")
    return READY_MADE[name].make()


PUBLISHED = "He et al. 2015, table 6: ResNets on CIFAR-10"
PUBLISHED_PLAIN = "He et al. 2015, plain networks, read off figure 6"


def _stated(errors: dict[int, float]) -> dict[int, Mean]:
    return {depth: Mean(error, math.nan, math.nan, 1) for depth, error in errors.items()}


RESNETS_OF_HE = _stated({20: 0.0875, 32: 0.0751, 44: 0.0717, 56: 0.0697, 110: 0.0643})
"""Test errors by depth, the best of five runs at 110; the table has no plain networks."""
PLAIN_OF_HE = _stated({20: 0.095, 32: 0.10, 44: 0.12, 56: 0.135})
"""Test errors by depth as the figure shows them, to about half a point; at 110 it is above 0.6 and not drawn."""

ABLATION = "Published ablation, 3 seeds [r]"
ABLATION_NOTE = (
    "The grey stars are not ours: a published ablation of networks of 75,290 and 269,722 parameters, three seeds, ten "
    "epochs of Adam. [r]: the figures were read in their publication; its authors and pictures are not recorded here."
)
IDENTITY_OF_ABLATION = {8: Mean(-0.0042, -0.0322, 0.0238, 3), 20: Mean(0.0248, 0.0173, 0.0324, 3)}
"""What the shortcut adds to the test accuracy by depth, which is the test error of plain networks less that of those
with identity shortcuts, with 95 % intervals."""
