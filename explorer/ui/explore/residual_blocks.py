"""The tab of a residual block: branch and shortcut, forward and backward, and their sizes in every block."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import streamlit as st

from explorer import figures
from explorer.architectures import ArchitectureSpec, describe, interventions
from explorer.attribution import magnitude
from explorer.experiments.residual_blocks import (
    BlockAnatomy,
    BlockBalance,
    PartOfBlock,
    balances,
    block_names,
    part_layers,
)
from explorer.figures import ColourScale, DepthLine
from explorer.labels import SHORTCUTS_OF_BLOCKS, stage_of
from explorer.ui import network_registry
from explorer.ui.api.strip import shown_layer
from explorer.ui.charts import chart, colour_bar, series_of
from explorer.ui.explore import controls
from explorer.ui.markdown import as_text
from explorer.ui.network_text import source_text
from explorer.ui.services.caches import CACHES
from explorer.ui.services.explore_state import AppState
from explorer.ui.services.inference import INFERENCE_SLOTS, NetworkResult
from explorer.ui.services.input_images import InputImage
from explorer.ui.session import inference_cache
from explorer.ui.viewer.places import block_maps
from explorer.ui.widgets.bound import bound

MAP_SIDE_PX = 96  # pixels of a map
_BALANCES = "Root mean squares over all channels and pixels, n = 1 image; no point where the shortcut carries 0."


@dataclass(frozen=True, eq=False)
class _BlockView:
    """One network, the `which`-th of the view, the inside of its block, and the channel that is shown of it."""

    network: NetworkResult
    which: int
    inside: BlockAnatomy
    channel: int

    @property
    def entering(self) -> int | None:
        """The channel of x that belongs to it; None where there is none."""
        channels = len(self.inside.input)
        front = (len(self.inside.sum) - channels) // 2 if self.inside.kind == "padded" else 0  # zeros in front
        return self.channel - front if 0 <= self.channel - front < channels else None


@st.cache_resource(
    max_entries=CACHES["ui.explore.residual_blocks._balances"].entries, show_spinner=False, scope="session"
)
def _balances(key: str, _network: NetworkResult) -> tuple[BlockBalance, ...]:
    with INFERENCE_SLOTS:
        seen = _network.trace
        return balances(_network.checkpoint.network, seen.image, seen.target, _network.interventions)


def block_tab(state: AppState, subject: InputImage, looked: list[NetworkResult]) -> None:
    residual = [network for network in looked if network.checkpoint.spec.shortcut != "none"]
    _plain(looked)
    if not residual:
        return
    names = list(dict.fromkeys(name for network in residual for name in block_names(network.checkpoint.network)))
    block = _block_of(shown_layer(state.layer, looked), names, [network.checkpoint.spec for network in residual])
    there = [network for network in residual if block in block_names(network.checkpoint.network)]
    insides = [inference_cache().block(network, subject, block) for network in there]
    channels = min(len(inside.sum) for inside in insides)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        bound(
            st.selectbox,
            "Block",
            names,
            key="block",
            value=block,
            write=lambda name: controls.update_state(layer=name, channel=None),
            width=200,
        )
        about = "Of the block's output; at first the one with the largest output."
        strongest = _strongest(insides[0].output)
        channel = controls.channel_input("block_channel", state.channel, channels, strongest, about)
    opened = [
        _BlockView(network, looked.index(network), inside, channel)
        for network, inside in zip(there, insides, strict=True)
    ]
    through = ", passed through the activation" if any(each.inside.activated for each in opened) else ""
    st.markdown(
        f"A residual block does not replace its input x, it adds to it: out comes **x + F(x)**{through}. "
        "Look for what F(x) changes, and how large it is beside what the shortcut s(x) hands on."
    )
    scale = ", one scale for both networks" if len(opened) > 1 else ", one scale for all maps"
    top = max(each.inside.activation_peak for each in opened)
    for each in opened:
        _activations(each, top)
    colour_bar(figures.DIVERGING, f"activations, ±{top:.3g}{scale}")
    st.markdown(
        "**On the way back** the sum hands the same gradient to both ways. What arrives at x is the sum of what came "
        "through the shortcut and what came through the branch."
    )
    steepest = max(each.inside.gradient_peak for each in opened)
    for each in opened:
        _gradients(each, steepest)
    colour_bar(figures.DIVERGING, f"gradient of the score, ±{steepest:.3g}{scale}")
    _all_blocks(subject, residual, block)


def _plain(looked: list[NetworkResult]) -> None:
    """One sentence for each network that has nothing to split, and a way to its twin."""
    for network in looked:
        if network.checkpoint.spec.shortcut != "none":
            continue
        twin = network_registry.twin_name(network.name)
        words = f"{as_text(network.title)} has no shortcuts, so its blocks have no parts to compare."
        if not twin:
            st.info(f"{words} Choose a ResNet above.")
        elif any(other.name == twin for other in looked):
            st.info(f"{words} Look at its twin beside it.")
        else:
            with st.container(horizontal=True, vertical_alignment="center"):
                st.info(f"{words} Look at its twin.")
                st.button("Look at its twin too", on_click=partial(controls.update_state, second=twin))


def _block_of(layer: str, names: list[str], specs: Iterable[ArchitectureSpec]) -> str:
    """The one of these blocks that the layer is in, else the last before it, else the first; of a
    layer that only another network has, the first of its stage."""
    for spec in specs:
        order = [each.name for each in describe(spec).layers]
        if layer in order:
            at = order.index(spec.block_of(layer) or layer)
            return next((name for name in reversed(order[: at + 1]) if name in names), names[0])
    return next((name for name in names if stage_of(name) == stage_of(layer)), names[0])


def _strongest(values: np.ndarray) -> int:
    """The channel of (C, H, W) with the largest root mean square."""
    return int(np.square(values, dtype=np.float64).sum(axis=(1, 2)).argmax())


def _activations(opened: _BlockView, top: float) -> None:
    inside, channel = opened.inside, opened.channel
    shortcut = SHORTCUTS_OF_BLOCKS[inside.kind].long
    if (gain := opened.network.checkpoint.spec.shortcut_gain) != 1:
        shortcut += f", times {gain:g}"
    st.markdown(f"**{as_text(opened.network.title)}**, block {inside.name}, channel {channel}: {shortcut}.")
    layers = part_layers(opened.network.checkpoint.network, inside.name, opened.network.interventions)
    names: dict[PartOfBlock, str] = {"input": "x", "shortcut": "s(x)", "branch": "F(x)"}
    names["sum"] = "s(x) + F(x)" if inside.kind != "identity" else "x + F(x)"
    maps = []
    for part, name in (names | ({"output": "output"} if inside.activated else {})).items():
        own = opened.entering if part == "input" else channel
        if own is None:
            maps.append(_Map(name, None, caption="No channel of x comes here."))
        else:
            maps.append(_Map(name, getattr(inside, part)[own], layers.get(part), own))
    key = f"blockmaps-{opened.which}"
    block_maps(key=key, data=_row(key, opened, maps, top))


@dataclass(frozen=True, eq=False)
class _Map:
    """One of a row, (H, W), with the `layer` and channel whose values it shows."""

    name: str
    values: np.ndarray | None
    layer: str | None = None
    channel: int = 0
    caption: str = ""


def _row(key: str, opened: _BlockView, maps: Sequence[_Map], top: float) -> dict[str, Any]:
    """`BlockMaps` in types.d.ts."""
    said = []
    for each in maps:
        known: dict[str, Any] = {"name": each.name, "layer": each.layer, "channel": each.channel}
        image, words, size = "", each.caption, (0, 0)
        if each.values is not None:
            image = figures.data_uri(ColourScale.signed(top).paint(each.values))
            words, size = f"{each.values.min():.3g} to {each.values.max():.3g}", each.values.shape
        said.append(known | {"image": image, "caption": words, "size": size, "alt": f"Map of {each.name}, {words}"})
    return {"key": key, "which": opened.which, "title": opened.network.title, "maps": said}


def _map(name: str, values: np.ndarray, top: float) -> None:
    with st.container(width=MAP_SIDE_PX + 16, gap="xsmall"):
        st.markdown(f"**{name}**")
        painted = figures.fit_to_screen(ColourScale.signed(top).paint(values), MAP_SIDE_PX)
        words = f"{values.min():.3g} to {values.max():.3g}"
        st.image(painted, width=MAP_SIDE_PX, output_format="PNG", alt=f"Map of {name}, {words}")
        st.caption(words)


def _gradients(opened: _BlockView, top: float) -> None:
    inside = opened.inside
    channel = opened.entering if opened.entering is not None else _strongest(inside.input_gradient)
    parts = [
        ("at x", inside.input_gradient),
        ("shortcut's part", inside.through_shortcut),
        ("branch's part", inside.through_branch),
    ]
    st.markdown(
        f"**{as_text(opened.network.title)}**, gradient of the score of *{as_text(opened.network.target)}*, channel "
        f"{channel} of x"
    )
    with st.container(horizontal=True):
        for name, values in parts:
            _map(name, values[channel], top)
    largest = float(np.abs(inside.through_shortcut + inside.through_branch - inside.input_gradient).max())
    sizes = "; ".join(f"{name} {magnitude(values):.3g}" for name, values in parts)
    st.caption(
        f"RMS over all channels: {sizes}. The two parts sum to the whole at every value: "
        f"the largest deviation is {largest:.1g}, of values up to {np.abs(inside.input_gradient).max():.2g}."
    )


def _all_blocks(subject: InputImage, residual: list[NetworkResult], block: str) -> None:
    st.markdown(
        "**Block by block**: above the dotted line the branch is the larger one, below it the shortcut. Look for where "
        f"the network changes its image most; the grey line marks {block}."
    )
    measured = []
    for network in residual:
        key = f"{network.name}/{subject.digest}/{network.trace.target}/{interventions.as_text(network.interventions)}"
        measured.append((series_of(network), _balances(key, network)))
    ratios: tuple[tuple[str, Callable[[BlockBalance], float | None]], ...] = (
        ("|F(x)| / |s(x)|, forward", lambda balance: balance.ratio),
        ("gradient through branch / shortcut", lambda balance: balance.gradient_ratio),
    )
    for number, (column, (title, ratio)) in enumerate(zip(st.columns(2, gap="medium"), ratios, strict=True)):
        lines = [
            DepthLine(series, [balance.name for balance in blocks], [ratio(balance) for balance in blocks])
            for series, blocks in measured
        ]
        spans = "; ".join(f"{line.series.title} from {_span(line.values)}" for line in lines)
        with column:
            drawn = figures.depth_chart(title, lines, block)
            alt = f"{title} of every block: {spans}"
            chart(drawn, f"balance_{number}", alt, name=title, source=f"{_BALANCES} {source_text(residual, subject)}")
    st.caption(_BALANCES)


def _span(values: Iterable[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{min(known):.3g} to {max(known):.3g}" if known else "nothing measurable"
