"""What the attack of a view does to its networks, as a part of the message."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from explorer import figures
from explorer.attribution import distances
from explorer.experiments.adversarial import AttackedNetwork, AttackedPicture, picture_sentences
from explorer.labels import listed
from explorer.ui.api.binary import MessageWriter
from explorer.ui.services.inference import NetworkResult
from explorer.ui.services.input_images import InputImage

TIMES = 10  # as large as it is the change is shown


def pack_attack(writer: MessageWriter, subject: InputImage, results: Sequence[NetworkResult]) -> dict[str, Any] | None:
    """What `attack.js` shows, None where nothing is attacked: sentences, and the change of the image `TIMES` as large,
    which is None where no attack was possible."""
    if subject.attack_refusal:
        return {"sentences": attack_sentences(subject, results), "change": None}
    if subject.attacked is None:
        return None
    change = magnified_change(subject, results)
    return {"sentences": attack_sentences(subject, results), "change": writer.picture(change)}


def magnified_change(subject: InputImage, results: Sequence[NetworkResult]) -> np.ndarray:
    """The change of an attacked image `TIMES` as large, on mid-grey: uint8 (height, width, 3)."""
    return figures.as_rgb(_attacked(subject, results).magnified(TIMES))


def attack_sentences(subject: InputImage, results: Sequence[NetworkResult]) -> list[str]:
    """What came of the attack, none where there is none: what each network that sees the image says, and which one does
    not see it."""
    if subject.attack_refusal:
        return [f"{subject.attack_refusal} So the image is not attacked."]
    attacked = subject.attacked
    if attacked is None:
        return []
    blind = [network.title for network in results if not network.clean]
    shape = "×".join(map(str, attacked.shares[1].shape))
    said = f"The attacked image is {shape}, so {listed(blind)} gets the image without the attack."
    seeing = [network.title for network in results if network.clean]
    return [*picture_sentences(_attacked(subject, results), seeing), *([said] if blind else [])]


def _attacked(subject: InputImage, results: Sequence[NetworkResult]) -> AttackedPicture:
    """With the networks that saw it, the attacked one among them."""
    attacked = subject.attacked
    assert attacked is not None
    wanted = None if attacked.target is None else attacked.class_names[attacked.target]
    networks: list[AttackedNetwork] = []
    against = 0
    for index, network in enumerate(results):
        if network.clean is None:
            continue
        if index == attacked.against:
            against = len(networks)
        networks.append(
            AttackedNetwork.of(
                network.checkpoint.class_names,
                network.clean.probabilities,
                network.trace.probabilities,
                distances(network.clean, network.trace),
                wanted,
            )
        )
    clean, perturbed = attacked.shares
    return AttackedPicture(attacked.attack, against, attacked.label, attacked.target, clean, perturbed, tuple(networks))
