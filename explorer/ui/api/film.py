"""The steps of a training that the viewer can show, as a part of the message for the browser."""

from collections.abc import Sequence
from typing import Any

from explorer.labels import listed
from explorer.ui.services.inference import ChosenNetwork
from explorer.ui.services.offered_networks import OfferedNetworks

COLOURS = "Every step has the colour scales of the finished networks."


def film(
    networks: Sequence[ChosenNetwork], offered: OfferedNetworks | None, scale: str = COLOURS
) -> dict[str, Any] | None:
    """The steps of these networks whose weights are kept (`Film` in types.d.ts), the finished networks aside; None
    where there are none. `scale` says what all steps share."""
    if offered is None or not (steps := offered.film([network.listed for network in networks])):
        return None
    return {
        "steps": list(steps),
        "last": max(offered.steps[network.listed][-1] for network in networks if network.listed in offered.steps),
        "note": " ".join([scale, *notes(networks, offered)]),
    }


def notes(networks: Sequence[ChosenNetwork], offered: OfferedNetworks) -> list[str]:
    """Sentences on what moves with the steps and what does not."""
    without = [network.title for network in networks if network.listed not in offered.steps]
    said = ["Statistics of BatchNorm are those of that moment."]
    if without:
        said.append(f"No weights of the past are kept of {listed(without)}, which stays as it ended.")
    runs = {tuple(offered.steps[network.listed]) for network in networks if network.listed in offered.steps}
    if len(runs) > 1:
        said.append("Each network is at its last kept step up to this one.")
    return said
