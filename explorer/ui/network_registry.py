"""Networks by name: shipped, of torchvision, uploaded, shared, or trained here.

Their weights are shared by all sessions and read-only.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import streamlit as st

from explorer import checkpoints, runs, torchvision_models
from explorer.architectures import ArchitectureSpec
from explorer.checkpoints import Checkpoint, CheckpointError, Header
from explorer.datasets import shapes
from explorer.errors import user_message
from explorer.experiments import measurement
from explorer.images import PHOTOS
from explorer.pretrained import CIFAR_DATA, accuracy_against_depth
from explorer.runs import weight_snapshots
from explorer.ui import client, user_models
from explorer.ui.markdown import as_text, without_bidi
from explorer.ui.network_text import dataset_title
from explorer.ui.services.caches import CACHES, LruCache
from explorer.ui.services.explore_state import AppState
from explorer.ui.services.inference import STEP_MARK, ChosenNetwork
from explorer.ui.services.offered_networks import DepthPoint, OfferedNetworks, kept_step, name_at

RECENT_RUNS = 10


def shipped_networks() -> Mapping[str, Header]:
    """The headers of the pretrained networks that can be used, by name in the order of their listing."""
    return _shipped()[0]


def shipped_problems() -> list[str]:
    """Why each of the other pretrained networks cannot be used."""
    return _shipped()[1]


@st.cache_resource(show_spinner=False)
def _shipped() -> tuple[dict[str, Header], list[str]]:
    headers, problems = {}, []
    for name in checkpoints.pinned():
        try:
            headers[name] = checkpoints.check_pretrained(name)
        except CheckpointError as error:
            problems.append(user_message(error))
    return headers, problems


def network_names() -> tuple[str, ...]:
    """The networks that can be chosen: the pretrained ones, the user's (uploaded, shared, and trained lately), and the
    downloaded ones of torchvision."""
    from_torchvision = (f"torchvision-{key}" for key in torchvision_models.downloaded())
    return (*shipped_networks(), *user_models.names(), *trained_names(), *from_torchvision)


def trained_names() -> list[str]:
    return [
        f"run-{run.id}-{file.stem}"
        for run in runs.list_runs(client.owner())[:RECENT_RUNS]
        for file in sorted(run.folder.glob("*.safetensors"))
        if runs.FILE.fullmatch(file.stem)
    ]


def is_network(name: str) -> bool:
    """Whether that network can be used. Anyone with a link may use the network of a run or a shared one."""
    if name in shipped_networks():
        return True
    if key := torchvision_key(name):
        return torchvision_models.is_available(key)
    if _file_of(name) is None:  # its weights may still be in memory
        return False
    try:
        read_header(name)  # its file may have been damaged since its weights were read
        checkpoint(name)
    except CheckpointError:
        return False
    return True


def title(name: str) -> str:
    """The network's title in text: "plain-20 · Shapes". Two may have the same: see `unique_labels`."""
    if key := torchvision_key(name):
        return f"{torchvision_models.PUBLISHED[key].title} · torchvision"
    try:
        header = read_header(name)
    except CheckpointError:
        return f"{name[:24]} · cannot be read"
    if own := user_models.title_of(name):
        return own if own == header.spec.name else f"{own} · {header.spec.name}"
    trained = user_models.RUN_NETWORK_ID.fullmatch(name)
    run = f" · your run {trained[1][:4]}" if trained else ""
    return f"{header.spec.name} · {dataset_title(header.data)}{run}"


def group(name: str) -> str:
    """Under which heading of a list that network stands."""
    if header := shipped_networks().get(name):
        return dataset_title(header.data)
    return "torchvision" if torchvision_key(name) else "Yours and shared"


def unique_labels(names: Iterable[str], words: Callable[[str], str] = title) -> dict[str, str]:
    """A label for each network in a list, by name: its `words`, and a part of its id where others have the same words.

    No two are alike, since Streamlit tells options apart by their labels. None depends on the order of the names.
    """
    plain = {name: without_bidi(words(name)) for name in names}
    labels = plain
    for suffix in (_short_id, str):
        count = Counter(labels.values())
        labels = {
            name: text if count[text] == 1 else f"{plain[name]} · {suffix(name)}" for name, text in labels.items()
        }
    count = Counter(labels.values())  # a user may have chosen such a title
    return {name: text if count[text] == 1 else name for name, text in labels.items()}


def _short_id(name: str) -> str:
    """The beginning of an upload's, a shared model's or a run's id."""
    if trained := user_models.RUN_NETWORK_ID.fullmatch(name):
        return f"{trained[1][:4]} {trained[2]}"
    given = user_models.UPLOAD_ID.fullmatch(name) or user_models.SHARED_ID.fullmatch(name)
    return given[1][:4] if given else name


def twin_name(name: str) -> str | None:
    """The pretrained twin of that network, or None."""
    swapped = name.replace("-plain-", "-resnet-") if "-plain-" in name else name.replace("-resnet-", "-plain-")
    return swapped if swapped != name and is_network(swapped) else None


def substitute(name: str) -> str | None:
    """The network to show beside that one instead of a missing one: its twin, else one of the same classes, or None."""
    shipped = shipped_networks()
    alike = [other for other in shipped if other != name and same_classes(name, other)]
    return twin_name(name) or next(iter(alike), None)


def companion(name: str) -> str | None:
    """A network to compare that one with: its `substitute`, else one for photos of other classes, or None."""
    return substitute(name) or twins_for_dataset(CIFAR_DATA)[1] or next(iter({*shipped_networks()} - {name}), None)


def pair(first: str, second: str | None, mixed: bool = False) -> tuple[str, str | None]:
    """The networks to show for these names: others stand in where one is missing. The second one knows the classes of
    the first, else the twin of the first comes, unless the page can show a `mixed` pair; None stays None."""
    names = network_names()
    if not is_network(first) and names:
        if second is not None and is_network(second):
            beside = substitute(second)
            first, second = (beside, second) if beside else (second, None)
        else:
            first = AppState.first if AppState.first in names else names[0]
    if second is None or (second != first and is_network(second) and (mixed or same_classes(first, second))):
        return first, second
    return first, twin_name(first)


def twins_for_dataset(data: str) -> tuple[str, str | None]:
    """Twins that were trained on that data, of 20 layers if there are such; ("", None) without any."""
    headers = {name: header for name, header in shipped_networks().items() if header.data == data}
    first = min(headers, key=lambda name: headers[name].spec.depth != 20, default="")
    return first, twin_name(first)


def parting_picture(first: str, second: str) -> str | None:
    """The `picture` of an AppState on which those twins part most (`agreement.parting`); None for other networks, and
    where the app cannot draw their test pictures."""
    header = shipped_networks().get(first)
    if header is None or twin_name(first) != second or (drawn := shapes.named(header.data)) is None:
        return None
    files, pair = checkpoints.pinned(), (first, second) if header.spec.shortcut == "none" else (second, first)
    found = measurement.parting_of([files[name] for name in pair], header.data)
    return f"test-{drawn.key}-{found.number}" if found else None


@st.cache_resource(show_spinner=False)
def _depth_charts() -> dict[str, tuple[DepthPoint, ...]]:
    """The accuracies of the shipped twins by their data."""
    headers = shipped_networks()
    return {
        data: tuple(DepthPoint(twins, parting_picture(*twins.names)) for twins in accuracy_against_depth(headers, data))
        for data in {header.data for header in headers.values()}
    }


def same_classes(name: str, other: str) -> bool:
    """Whether both know the same classes; not where one of them is gone or damaged."""
    try:
        return class_names(name) == class_names(other)
    except CheckpointError:
        return False


def checkpoint(name: str) -> Checkpoint:
    """The network of that name, frozen. Raises CheckpointError."""
    return loader(name)()


def load_visibly(names: Iterable[str]) -> None:
    """Loads the networks that are not in memory, and says which meanwhile: one element of the page. Raises
    CheckpointError."""
    place = st.empty()
    for name in names:
        key = str(user_models.path(name)) if user_models.is_model(name) else name
        if name not in shipped_networks() and key not in _networks():  # those are small
            with place, st.spinner(f"Loading {as_text(title(name))} …"):
                checkpoint(name)


def loader(name: str) -> Callable[[], Checkpoint]:
    """What loads that network, or finds it loaded, in any thread. It raises CheckpointError, as this does for an
    uploaded or shared network that is gone."""
    if user_models.is_model(name):
        path = user_models.path(name)
        return lambda: _networks().get(str(path), lambda: checkpoints.load(path))
    return lambda: _networks().get(name, lambda: _load(name))


@st.cache_resource(show_spinner=False)
def _networks() -> LruCache[Checkpoint]:
    return LruCache(CACHES["ui.network_registry._networks"], weight_bytes)


def weight_bytes(loaded: Checkpoint) -> int:
    values = [*loaded.network.parameters(), *loaded.network.buffers()]
    return sum(value.nbytes for value in values)


def _load(name: str) -> Checkpoint:
    if key := torchvision_key(name):
        return torchvision_models.load(key)
    trained = user_models.RUN_NETWORK_ID.fullmatch(name)
    if not trained:
        return checkpoints.load_pretrained(name)
    run = runs.find(trained[1])
    if run is None:
        raise CheckpointError("the run that trained this network is deleted; choose another network.")
    if trained[3] is None:
        return checkpoints.load(run.network_file(trained[2]))
    network = weight_snapshots.snapshot(run, trained[2], int(trained[3]))
    finished = checkpoint(name.partition(STEP_MARK)[0])
    return replace(finished, network=network, metrics={}, record=_record_until(finished.record, int(trained[3])))


def _record_until(record: dict[str, Any], step: int) -> dict[str, Any]:
    """The record of a training without the epochs that ended behind that step."""
    epochs = [epoch for epoch in record.get("epochs", ()) if epoch["step"] <= step]
    return {**record, "epochs": epochs, "steps": step}


def load_step(name: str, step: int) -> Checkpoint:
    """The network of that name after so many steps of its training, in any thread; nothing is measured of it. Raises
    CheckpointError."""
    return loader(name_at(name, step))()


def at_step(names: Iterable[str], step: int | None) -> list[str]:
    """The names of these networks at the last of their kept steps that is not behind `step`."""
    return [name_at(name, kept_step(snapshot_steps(name), step)) for name in names]


def snapshot_steps(name: str) -> tuple[int, ...]:
    """The steps of that network's training whose weights are kept, in their order; none for most networks."""
    run = user_models.run_of(name)
    return weight_snapshots.snapshot_steps(run) if run else ()


def digests_of_owner(names: Iterable[str]) -> tuple[str, list[str]] | None:
    """The owner and the digests by which results of these networks are stored; None where they may not be stored, as
    of uploads. The owner is "" for shipped and published networks, whose results are everybody's. For networks that a
    run trained it is the user's secret, so nobody else finds the result."""
    names = list(names)
    owners = [owner_of(name) for name in names]
    if None in owners:
        return None
    return next(filter(None, owners), ""), [_digest(name) for name in names]


def owner_of(name: str) -> str | None:
    """The same of one network, without its digest, which takes a second for the largest."""
    if name in shipped_networks() or torchvision_key(name):
        return ""
    return client.owner() if user_models.RUN_NETWORK_ID.fullmatch(name) else None


def digest(name: str, owner: str | None) -> str:
    """What identifies the weights of that network, in any thread; for one without an `owner_of` its name. Raises
    CheckpointError."""
    return name if owner is None else _digest(name)


def weights_digest(name: str) -> str:
    """The `checkpoints.digest` of that network. Raises CheckpointError. That of an upload is computed anew: its owner
    may change its classes."""
    return checkpoints.digest(checkpoint(name)) if user_models.is_model(name) else _digest(name)


@st.cache_resource(max_entries=CACHES["ui.network_registry._digest"].entries, show_spinner=False)
def _digest(name: str) -> str:
    """A file of a run, of the app or of torchvision never changes under its name."""
    return checkpoints.digest(checkpoint(name))


def torchvision_key(name: str) -> str:
    """torchvision's own name of that network, "" for a network from elsewhere."""
    key = name.removeprefix("torchvision-")
    return key if key != name and key in torchvision_models.PUBLISHED else ""


def class_names(name: str) -> tuple[str, ...]:
    """Raises CheckpointError."""
    key = torchvision_key(name)
    return torchvision_models.PUBLISHED[key].class_names if key else read_header(name).class_names


def spec(name: str) -> ArchitectureSpec:
    """The network's architecture, without its weights. Raises CheckpointError."""
    key = torchvision_key(name)
    return torchvision_models.PUBLISHED[key].spec if key else read_header(name).spec


def sample_for(name: str) -> str:
    """The `picture` of an AppState with a drawn shape of the network's classes, the usual one if possible; a photo for
    a network that knows no shape.

    Raises CheckpointError.
    """
    known = [label for label, shape in enumerate(shapes.CLASS_NAMES) if shape in class_names(name)]
    usual, number = AppState.picture.split("-")[1:]
    if not known:
        return next(iter(PHOTOS))
    return AppState.picture if int(usual) in known else f"sample-{known[0]}-{number}"


def read_header(name: str) -> Header:
    """The header of the network's file: a list of many networks needs no weights. Not for torchvision's.

    Raises CheckpointError.
    """
    if header := shipped_networks().get(name):
        return header
    path = _file_of(name)
    if path is None:
        raise CheckpointError("this network is not here any more; choose another one.")
    return _header(f"{path}/{path.stat().st_mtime_ns}", path)


@st.cache_resource(max_entries=CACHES["ui.network_registry._header"].entries, show_spinner=False)
def _header(key: str, _path: Path) -> Header:
    return checkpoints.read_header(_path)


def _file_of(name: str) -> Path | None:
    """The file of a run's network, an upload or a shared model, if it exists."""
    if trained := user_models.RUN_NETWORK_ID.fullmatch(name):
        run = runs.find(trained[1])
        path = run.network_file(trained[2]) if run else None
        return path if path and path.is_file() else None
    model = user_models.find(name)
    return model.path if model else None


def offered_networks(names: Iterable[str]) -> OfferedNetworks:
    """Those networks for the browser of this page. Raises CheckpointError for one that is gone."""
    names = list(dict.fromkeys(names))
    twins = {name: twin for name in names if (twin := twin_name(name)) in names}
    pairs = {data: twins_for_dataset(data) for data in (shapes.Drawn().name, CIFAR_DATA)}
    for_data = {data: [name for name in pair if name] for data, pair in pairs.items() if pair[0] in names}
    return OfferedNetworks(
        {name: loader(name) for name in names},
        unique_labels(names),
        client.theme(),
        twins,
        for_data,
        _depth_charts(),
        steps={name: steps for name in names if (steps := snapshot_steps(name))},
        load_step=load_step,
    )


def chosen_networks(names: Iterable[str], step: int | None = None) -> list[ChosenNetwork]:
    """The networks of a page, at that step of their training, with their colours beside each other. Raises
    CheckpointError."""
    names = list(names)
    return offered_networks(names).beside(names, step)
