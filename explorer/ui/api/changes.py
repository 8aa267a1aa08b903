"""What interventions do to each network, and which blocks they can be chosen of, as a part of the message."""

from collections.abc import Sequence
from typing import Any

from explorer.architectures import Network
from explorer.architectures.interventions import as_text, block_shapes
from explorer.attribution import distances
from explorer.ui.api.binary import json_float
from explorer.ui.services.inference import NetworkResult

DISTANCE = "distance from the untouched pass"
CLEAN_DISTANCE = "distance from the clean pass"
SAID = 3  # interventions of which it is said why they are left out


def pack_changes(axis: Sequence[str], results: Sequence[NetworkResult]) -> tuple[str | None, list[dict[str, Any]]]:
    """What the row of distances in `strip.js` is about, None for no such row, and of each network what `changes.js` and
    that row show: `distances` are |a' - a| / |a| by layer of the axis, None where there is no such number."""
    entries = []
    is_attacked = any(network.clean for network in results)
    for network in results:
        before = network.clean if is_attacked else network.untouched
        far = distances(before, network.trace) if before else {}
        entries.append(
            {
                "blocks": _blocks(network.checkpoint.network),
                "change": as_text(network.interventions),
                "effect": effect(network),
                "distances": [json_float(far[name]) if name in far else None for name in axis] if far else None,
            }
        )
    if is_attacked:
        return CLEAN_DISTANCE, entries
    return DISTANCE if any(network.interventions for network in results) else None, entries


def effect(network: NetworkResult) -> str:
    """What came of the interventions of the view in a sentence, "" without any."""
    said, more = network.refusals[:SAID], len(network.refusals) - SAID
    others = f" {more} more {'does' if more == 1 else 'do'} not fit either." if more > 0 else ""
    if not network.untouched:
        reasons = " ".join(why for _, why in said)
        return f"{reasons}{others} So {network.title} stays untouched." if said else ""
    left = " ".join(f"{why} So `{change}` is left out." for change, why in said) + others
    names, after, before = network.checkpoint.class_names, network.trace, network.untouched
    shares = [float(each.probabilities[after.target]) for each in (before, after)]
    found = f"{network.title}: {names[after.target]} {shares[0]:.1%} → {shares[1]:.1%}"
    if after.prediction == before.prediction:
        found = f"{found}; it still predicts {names[after.prediction]}."
    else:
        found = f"{found}; it predicts {names[after.prediction]} in the place of {names[before.prediction]}."
    return f"{found} {left}".rstrip()


def _blocks(network: Network) -> list[dict[str, Any]]:
    """The blocks in execution order: whether each has a shortcut, keeps the shape of its input, and can be swapped with
    the next one."""
    shapes = block_shapes(network.spec)
    residual = {name for module, (name, kind) in network.layers.items() if kind == "block" and module.residual}
    names = [*shapes]
    found = []
    for name, following in zip(names, [*names[1:], None], strict=True):
        fits = following is not None and len({*shapes[name], *shapes[following]}) == 1
        keeps = len({*shapes[name]}) == 1
        found.append({"name": name, "residual": name in residual, "keeps": keeps, "next": following if fits else None})
    return found
