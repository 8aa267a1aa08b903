"""The question of one unit: what does one channel of one layer react to, and what is it for?"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import streamlit as st

from explorer.architectures import describe
from explorer.checkpoints import Checkpoint
from explorer.datasets import Split
from explorer.experiments import measurement
from explorer.experiments.units import connections, findings
from explorer.experiments.units.connections import Neighbours
from explorer.experiments.units.findings import LIMITS, UnitFindings
from explorer.experiments.units.natural import Unit
from explorer.experiments.units.optimised import STEPS, minimises
from explorer.images import PHOTOS, seen_pixels
from explorer.tracing import STRIP_KINDS
from explorer.ui import dataset_access, forecasts, measured_images
from explorer.ui.experiments.controls import update_state
from explorer.ui.experiments.images import COUNTS
from explorer.ui.experiments.question import AskedNetwork, Plan, Question
from explorer.ui.experiments.state import ExperimentsState
from explorer.ui.experiments.unit_answer import csv_rows, measured_parts, weight_parts
from explorer.ui.markdown import as_text
from explorer.ui.network_text import source_text
from explorer.ui.services.inference import pixels_for
from explorer.ui.services.input_images import photo_image
from explorer.ui.session import session
from explorer.ui.widgets.bound import bound
from explorer.ui.widgets.download import offer_labelled_images

USUAL = 1000  # test images
PICTURES = "pictures"  # the `data` of a state that stands for the gallery and the session's uploads
LAYER_SECONDS = 0.0004  # of one step of the ascent for each layer, beside its arithmetic


@dataclass(frozen=True, eq=False)
class Natural:
    """The natural pictures of a question: `split` with the words below each and the classes that it counts. `about` is
    the network as it takes them, `key` names them, `words` tell what they are."""

    split: Split
    labels: Sequence[str]
    class_names: Sequence[str]
    about: Checkpoint
    is_labelled: bool


def question() -> Question:
    return Question(
        title="What does one unit react to?",
        method="A unit is one channel of one layer. Pictures are ranked by the maximum of its map. The small frame "
        "marks the place of that value, the large one the pixels that it can depend on. Then the unit is switched off.",
        limits=LIMITS,
        controls=_controls,
        plan=_plan,
        of_one=True,
    )


def _asked(state: ExperimentsState, networks: Sequence[AskedNetwork]) -> AskedNetwork:
    return networks[1 if state.network == "second" and len(networks) > 1 else 0]


def _layers(checkpoint: Checkpoint, shown: str | None) -> list[str]:
    """The layers with maps that a strip shows, and the one that is shown."""
    entries = [entry for entry in describe(checkpoint.spec).layers if len(entry.output_shape) == 3]
    return [entry.name for entry in entries if entry.kind in STRIP_KINDS or entry.name == shown]


def _unit(state: ExperimentsState, checkpoint: Checkpoint) -> Unit | None:
    """The unit of the view; None for a network without feature maps. Another network may lack the layer or channel."""
    if not (layers := _layers(checkpoint, state.layer)):
        return None
    if state.layer not in layers:
        return connections.first_unit(checkpoint.network)
    channels = describe(checkpoint.spec).shape(state.layer)[0]
    return Unit(state.layer, min(state.channel or 0, channels - 1))


# --- natural pictures -------------------------------------------------------------------------------------------------


def _options(network: AskedNetwork) -> list[str]:
    """The labelled data on this machine that fits the network, first what it was trained on; then own pictures."""
    own = dataset_access.data_key(network.chosen.checkpoint.data)
    return [*sorted(measured_images.shared_data([network.chosen]), key=lambda data: data != own), PICTURES]


def _images(state: ExperimentsState, network: AskedNetwork) -> tuple[str, int]:
    """The data and the number of pictures."""
    options = _options(network)
    data = state.data if state.data in options else options[0]
    return data, min(state.n or USUAL, _total(data))


def _total(data: str) -> int:
    return len(PHOTOS) + len(session().uploads.images()) if data == PICTURES else measured_images.test_count(data)


def _natural(network: AskedNetwork, data: str, n: int) -> Natural:
    about = network.chosen.checkpoint
    if data != PICTURES:
        sample = measured_images.sample(data, n)
        split = measurement.rows(sample.split, sample.indices)
        names = sample.class_names
        return Natural(split, [names[label] for label in split.labels], names, about, True)
    images = [*map(photo_image, PHOTOS), *session().uploads.images()]
    size = (about.spec.input_shape[1], about.spec.input_shape[2])
    pixels = [
        seen_pixels(pixels_for(about, image)[0], size, 3, about.resize_shorter_to, image.frame) for image in images
    ]
    split = Split(np.stack(pixels).transpose(0, 3, 1, 2).copy(), np.zeros(len(images), np.int64))
    # They have the size of the network's input already.
    own = replace(about, resize_shorter_to=None)
    return Natural(split, [image.plain_title for image in images], about.class_names, own, False)


def _content(data: str) -> str:
    """What identifies the pictures."""
    if data != PICTURES:
        return measured_images.content(data)
    digests = "/".join(image.digest for image in session().uploads.images())
    return f"pictures-{hashlib.sha256(digests.encode()).hexdigest()[:16]}"


def _data_title(data: str) -> str:
    return "the gallery and your uploads" if data == PICTURES else dataset_access.data_title(data)


# --- controls ---------------------------------------------------------------------------------------------------------


def _controls(state: ExperimentsState, networks: Sequence[AskedNetwork]) -> None:
    network = _asked(state, networks)
    checkpoint = network.chosen.checkpoint
    if len(networks) > 1:
        titles = {"first": as_text(networks[0].chosen.title), "second": as_text(networks[1].chosen.title)}
        bound(
            st.segmented_control,
            "Network",
            list(titles),
            key="experiments_network",
            value=state.network,
            write=lambda name: update_state(network=name),
            format_func=titles.__getitem__,
            required=True,
        )
    if (unit := _unit(state, checkpoint)) is None:
        return
    bound(
        st.selectbox,
        "Layer",
        _layers(checkpoint, unit.layer),
        key="experiments_layer",
        value=unit.layer,
        write=lambda layer: update_state(layer=layer, channel=unit.channel),
        width=220,
    )
    channels = describe(checkpoint.spec).shape(unit.layer)[0]
    bound(
        st.number_input,
        "Channel",
        0,
        channels - 1,
        key="experiments_channel",
        value=unit.channel,
        write=lambda channel: update_state(layer=unit.layer, channel=int(channel)),
        help=f"0 to {channels - 1}. At first: the one with the largest single weight to the classes.",
        width=130,
    )
    data, n = _images(state, network)
    bound(
        st.selectbox,
        "Images",
        _options(network),
        key="experiments_unit_data",
        value=data,
        write=lambda data: update_state(data=data),
        format_func=_data_title,
        width=240,
    )
    if data != PICTURES:
        total = _total(data)
        bound(
            st.selectbox,
            "How many",
            sorted({*(count for count in COUNTS if count < total), total, n}),
            key="experiments_unit_n",
            value=n,
            write=lambda n: update_state(n=n),
            format_func=lambda count: f"{count:,}",
            width=120,
        )
    bound(
        st.number_input,
        "Seed",
        0,
        100_000,
        key="experiments_seed",
        value=state.seed,
        write=lambda seed: update_state(seed=int(seed), measure=state.measure),
        help="Decides the optimised picture.",
        width=120,
    )


# --- the plan ---------------------------------------------------------------------------------------------------------


def _plan(state: ExperimentsState, networks: Sequence[AskedNetwork]) -> Plan | None:
    network = _asked(state, networks)
    checkpoint, title = network.chosen.checkpoint, network.chosen.title
    if (unit := _unit(state, checkpoint)) is None:
        st.info(
            f"{as_text(title)} has no feature maps, so it has no units to look at; choose another network in the bar."
        )
        return None
    data, n = _images(state, network)
    if data == PICTURES:
        offer_labelled_images(
            f"These are {n} images of the gallery and of this session, without labels.",
            [(checkpoint.spec, checkpoint.class_names)],
            "More images tell more: upload them in the bar, or bring a dataset of the network's classes on the page "
            "Build & train.",
        )
    is_labelled = data != PICTURES
    key = "/".join(map(str, ("unit", network.name, unit.layer, unit.channel, _content(data), n)))
    natural: UnitFindings | None = session().results.find(f"answer/{key}")
    whole: UnitFindings | None = session().results.find(f"answer/{key}/{state.seed}")
    spec, found = checkpoint.spec, whole or natural
    both = natural is not None and minimises(spec, natural.answers)
    if natural is None:
        macs = findings.natural_macs(spec, unit, n, is_labelled)
        cost = f"two passes of {n:,} images, and then {STEPS} steps for the optimised picture"
    else:
        macs = findings.optimised_macs(spec, unit, both)
        cost = f"{STEPS} steps of gradient ascent for the optimised picture{'s' if both else ''}"
    seconds = macs * 0.5 / forecasts.macs_a_second()
    if natural is not None:
        before = [entry.name for entry in describe(spec).layers].index(unit.layer) + 1
        seconds += STEPS * before * LAYER_SECONDS
    is_done = whole is not None or (natural is not None and natural.is_constant)

    def work() -> Iterator[tuple[float, Any]]:
        yield 0.0, None
        images = _natural(network, data, n)
        if natural is None:
            steps = findings.natural_findings(
                images.about, images.split, images.labels, images.class_names, unit, images.is_labelled
            )
        else:
            steps = findings.with_optimised(checkpoint, natural, state.seed)
        for share, measured in steps:
            if measured is not None:
                session().results.put(f"answer/{key}{'' if natural is None else f'/{state.seed}'}", measured)
            yield share, None if measured is None else True

    neighbours = (connections.fed_by(checkpoint.network, unit), connections.feeds(checkpoint.network, unit))
    images_title = f"{n:,} test images of {_data_title(data)}, taken evenly over the split"
    return Plan(
        key=key if natural is None else f"{key}/{state.seed}",
        cost=cost,
        seconds=0.0 if is_done else max(0.1, seconds),
        work=work,
        known=found or unit,  # the weights are known without any measurement
        answer=lambda known: [
            *(measured_parts(title, known) if isinstance(known, UnitFindings) else []),
            *weight_parts(title, unit, checkpoint, neighbours),
        ],
        rows=lambda known: csv_rows(checkpoint, known, neighbours),
        source=f"{images_title if is_labelled else f'{n} images of {_data_title(data)}'}. "
        f"{source_text([network.chosen])}",
        links=lambda: _links(state, neighbours),
    )


def _links(state: ExperimentsState, neighbours: tuple[Neighbours, Neighbours]) -> None:
    """The ways to the neighbours. Buttons: a link within one page does not change the address in Streamlit 1.67."""
    for verb, found in zip(("Units that feed it", "Units that it feeds"), neighbours, strict=True):
        units = [
            Unit(each.layer, each.first + int(place))
            for each in found.connections
            if each.kind == "channel"
            for place in each.strongest
        ]
        if not (units := list(dict.fromkeys([*(each.unit for each in found.carried), *units]))):
            continue
        st.caption(verb)
        with st.container(horizontal=True, gap="small"):
            for unit in units:
                st.button(
                    f"{unit.layer} · {unit.channel}",
                    key=f"unit-{verb}-{unit.layer}-{unit.channel}",
                    help=f"The page of {unit}",
                    on_click=update_state,
                    kwargs={"layer": unit.layer, "channel": unit.channel, "measure": state.measure},
                )
