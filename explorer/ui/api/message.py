"""What Explore draws in the browser, as one message: predictions, depth strip, and the layer panel."""

import numpy as np

from explorer.ui.api.attack import pack_attack
from explorer.ui.api.binary import MessageWriter
from explorer.ui.api.changes import pack_changes
from explorer.ui.api.depths import depth_chart
from explorer.ui.api.film import film
from explorer.ui.api.introduction import introduction
from explorer.ui.api.layers import is_prefetched, pack_input, pack_layers
from explorer.ui.api.predictions import pack_predictions
from explorer.ui.api.strip import layer_axis, pack_strip, shown_layer
from explorer.ui.network_text import source_text
from explorer.ui.services.inference import NetworkResult
from explorer.ui.services.input_images import InputImage
from explorer.ui.services.offered_networks import OfferedNetworks
from explorer.ui.services.sample_sheets import scene_sheets


def view_message(
    picture: str,
    subject: InputImage,
    results: list[NetworkResult],
    layer: str | None = None,
    channel: int | None = None,
    offered: OfferedNetworks | None = None,
) -> bytes:
    """All that depends on the view, with the layer that is shown. `picture` is that of the AppState, `offered` are
    the networks of the page.

    Raises ValueError where no layer of the networks has maps.
    """
    writer = MessageWriter()
    header = pack_strip(writer, results)
    only = shown_layer(layer, results)
    layers = pack_layers(writer, subject, results, only, channel)
    distance, changes = pack_changes(layer_axis(results), results)
    for entry, network, own, changed in zip(header["networks"], results, layers, changes, strict=True):
        entry |= {"target": network.target, "input": pack_input(writer, network), "layers": own, **changed}
    header |= {
        "picture": picture,
        "layer": shown_layer(None, results),
        "mean": [round(255 * level) for level in np.broadcast_to(results[0].checkpoint.mean, 3).tolist()],
        "source": source_text(results, subject),
        "introduction": introduction(subject, results, offered),
        "depths": depth_chart(results, offered),
        "film": film(results, offered),
        "predictions": pack_predictions(writer, subject, results),
        "distance": distance,
        "attack": pack_attack(writer, subject, results),
        "prefetch": is_prefetched(results),
        "every": False,
        "sheets": scene_sheets(subject.sample),
    }
    return writer.write(header)


def layers_message(
    picture: str, subject: InputImage, results: list[NetworkResult], only: str | None, channel: int | None = None
) -> bytes:
    """The layer `only` for the layer panel, or all layers where they are small enough to be fetched ahead."""
    writer = MessageWriter()
    layers = pack_layers(writer, subject, results, only, channel)
    return writer.write({"picture": picture, "networks": [{"layers": own} for own in layers], "every": only is None})
