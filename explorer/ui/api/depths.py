"""Accuracy against depth of the pretrained twins: each point is a link to its pair."""

from collections.abc import Sequence
from typing import Any

from explorer import figures
from explorer.ui.network_text import dataset_title
from explorer.ui.services.inference import NetworkResult
from explorer.ui.services.offered_networks import DepthPoint, OfferedNetworks

_LINES = (("plain", "none"), ("ResNet", "identity"))  # title and shortcut


def depth_chart(results: Sequence[NetworkResult], offered: OfferedNetworks | None) -> dict[str, Any] | None:
    """The chart of the data that the first network was trained on (`DepthChart` in types.d.ts); None where no twins
    ship for it. The point of the networks that are shown is marked."""
    points = offered.depths.get(results[0].checkpoint.data, ()) if offered else ()
    if not offered or not points:
        return None
    shown = {network.name for network in results}
    return {
        "title": f"Test accuracy against depth, {dataset_title(results[0].checkpoint.data)}",
        "lines": [
            {"title": title, "colour": figures.network_colour(shortcut, offered.theme)} for title, shortcut in _LINES
        ],
        "points": [_point(point) | {"shown": shown == set(point.twins.names)} for point in points],
    }


def _point(point: DepthPoint) -> dict[str, Any]:
    twins = point.twins
    words = f"plain {twins.plain:.1%}, ResNet {twins.residual:.1%} (n = {twins.n:,} test images)"
    return {
        "depth": twins.depth,
        "shares": [twins.plain, twins.residual],
        "words": f"{twins.depth} layers: {words}",
        "networks": list(twins.names),
        "picture": point.picture,
    }
