"""What stands above the picture: which networks these are, what they know, and others that may know the picture."""

from collections.abc import Mapping, Sequence
from typing import Any

from explorer import torchvision_models
from explorer.datasets import shapes
from explorer.labels import with_article
from explorer.pretrained import CIFAR_DATA
from explorer.ui.services.inference import NetworkResult
from explorer.ui.services.input_images import InputImage
from explorer.ui.services.offered_networks import OfferedNetworks

SHAPES_DATA = shapes.Drawn().name
_CLASSES_NAMED = 20


def introduction(
    subject: InputImage, results: Sequence[NetworkResult], offered: OfferedNetworks | None = None
) -> dict[str, Any]:
    """What `introduction.js` shows; none of the words is markup."""
    first = results[0]
    names = first.checkpoint.class_names
    known = ", ".join(names[:_CLASSES_NAMED])
    if len(names) > _CLASSES_NAMED:
        known += f" and {len(names) - _CLASSES_NAMED:,} more"
    are_twins = offered and len(results) == 2 and results[1].listed == offered.twins.get(first.listed)
    return {
        "heading": f"One image, {'two networks' if len(results) > 1 else 'one network'}",
        "twins": [network.title for network in results] if are_twins else None,
        "known": f"{'These networks know' if len(results) > 1 else 'This network knows'} only: {known}.",
        "offer": _offer(subject, first, offered.for_data if offered else {}),
    }


def _offer(subject: InputImage, network: NetworkResult, twins: Mapping[str, Sequence[str]]) -> dict[str, Any] | None:
    """Twins that may know this picture, where the networks of the view cannot."""
    about, drawn = network.checkpoint, subject.mask is not None
    data, known, label = about.data, shapes.named(about.data), subject.label
    if known and drawn and label is not None and label not in about.class_names:
        told = ", ".join(about.class_names)
        why = f"These networks have never seen {with_article(label)}: they tell only {told} apart."
        words, better = "Look with the twins that know all shapes", SHAPES_DATA
    elif known and not drawn:
        why = "These networks have only ever seen drawn shapes, so what they predict for a photo means little."
        words, better = "Look with the CIFAR-10 twins", CIFAR_DATA
    elif data in (CIFAR_DATA, torchvision_models.DATA) and drawn:
        why = "These networks have only ever seen photographs, so what they predict for a drawn shape means little."
        words, better = "Look with the shapes twins", SHAPES_DATA
    else:
        return None
    return {"why": why, "words": words, "networks": list(twins[better])} if better in twins else None
