"""What outlives a rerun: caches of networks and passes, locks, and the pictures of this session.

One file: who shares what with whom is to be seen in one place.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import streamlit as st

from explorer import checkpoints, figures, runs, torchvision_models
from explorer.architectures import ArchitectureSpec
from explorer.checkpoints import Checkpoint, CheckpointError, Header
from explorer.datasets import shapes
from explorer.errors import user_message
from explorer.ui import kept_models
from explorer.ui.markdown import in_order
from explorer.ui.passes import ChosenNetwork, Looked, Passes, Pictures, Subject, sample_subject
from explorer.ui.services.caches import CACHES, LruCache
from explorer.ui.session import session
from explorer.ui.state import AppState
from explorer.ui.visitor import owner as owner
from explorer.ui.visitor import remember_owner as remember_owner
from explorer.ui.visitor import theme as theme
from explorer.ui.words import dataset_title

EARLIER_RUNS = 10


@st.cache_resource(show_spinner=False)
def catalogue() -> tuple[Mapping[str, Header], tuple[str, ...]]:
    """The headers of the pretrained networks that can be used, in the order of their listing, and what is wrong with
    the others."""
    headers, problems = {}, []
    for name in checkpoints.pinned():
        try:
            headers[name] = checkpoints.check_pretrained(name)
        except CheckpointError as error:
            problems.append(user_message(error))
    return headers, tuple(problems)


def network_names() -> tuple[str, ...]:
    """The networks that can be chosen: the pretrained ones, this person's (uploaded, shared, and trained lately), and
    those of torchvision that are here."""
    from_torchvision = (f"torchvision-{key}" for key in torchvision_models.downloaded())
    return (*catalogue()[0], *kept_models.names(), *trained_names(), *from_torchvision)


def trained_names() -> list[str]:
    return [
        f"run-{run.id}-{file.stem}"
        for run in runs.newest(owner(), EARLIER_RUNS)
        for file in sorted(run.folder.glob("*.safetensors"))
        if runs.FILE.fullmatch(file.stem)
    ]


def is_network(name: str) -> bool:
    """Whether that network can be looked at: a run's is open to everyone who was given its name, in a link."""
    if name in catalogue()[0]:
        return True
    if key := published_key(name):
        return torchvision_models.is_available(key)
    path = _file_of(name)
    if path is None or not path.is_file():  # its weights may be in memory still
        return False
    try:
        checkpoint(name)
    except CheckpointError:
        return False
    return True


def title(name: str) -> str:
    """What a person reads of that network: "plain-20 · Shapes". Two may have the same: `labels` tells them apart."""
    if key := published_key(name):
        return f"{torchvision_models.PUBLISHED[key].title} · torchvision"
    try:
        known = about(name)
    except CheckpointError:
        return f"{name[:24]} · cannot be read"
    if kept_models.title_of(name):
        return f"{kept_models.title_of(name)} · {known.spec.name}"
    trained = kept_models.RUN_NETWORK.fullmatch(name)
    run = f" · your run {trained[1][:4]}" if trained else ""
    return f"{known.spec.name} · {dataset_title(known.data)}{run}"


def labels(names: Iterable[str], words: Callable[[str], str] = title) -> dict[str, str]:
    """What each network is called in a list, by name: its `words`, and where others have the same words its number.

    No two are alike, since Streamlit tells options apart by what they read. None depends on the order of the names.
    """
    plain = {name: in_order(words(name)) for name in names}
    named = plain
    for own in (_number, str):
        often = Counter(named.values())
        named = {name: label if often[label] == 1 else f"{plain[name]} · {own(name)}" for name, label in named.items()}
    often = Counter(named.values())  # a person may have called one just like that
    return {name: label if often[label] == 1 else name for name, label in named.items()}


def titles(networks: Mapping[str, str]) -> dict[str, str]:
    """What to call each network beside the others: what its architecture is called, which `networks` says by name, and
    where two have the same, what a list calls it."""
    often, long = Counter(networks.values()), labels(networks) if len({*networks.values()}) < len(networks) else {}
    return {name: own if often[own] == 1 else long[name] for name, own in networks.items()}


def _number(name: str) -> str:
    """The beginning of what tells an upload or a run from all others."""
    if trained := kept_models.RUN_NETWORK.fullmatch(name):
        return f"{trained[1][:4]} {trained[2]}"
    given = kept_models.MINE.fullmatch(name) or kept_models.SHARED.fullmatch(name)
    return given[1][:4] if given else name


def twin_name(name: str) -> str | None:
    """The pretrained twin of that network, or None."""
    swapped = name.replace("-plain-", "-resnet-") if "-plain-" in name else name.replace("-resnet-", "-plain-")
    return swapped if swapped != name and is_network(swapped) else None


def twins_on(data: str) -> tuple[str, str | None]:
    """Twins that were trained on that data, of 20 layers if there are such; ("", None) where there are none."""
    names = [name for name in catalogue()[0] if about(name).data == data]
    first = min(names, key=lambda name: about(name).spec.depth != 20, default="")
    return first, twin_name(first)


def know_the_same(name: str, other: str) -> bool:
    """Whether two pretrained networks tell the same classes apart."""
    return class_names(name) == class_names(other)


def checkpoint(name: str) -> Checkpoint:
    """The network of that name, frozen: pretrained, torchvision's, of a run, uploaded or shared. Raises
    CheckpointError."""
    if key := published_key(name):
        return _networks().get(name, lambda: _published(key))
    if kept_models.file_of(name) or kept_models.MINE.fullmatch(name):
        return kept_models.load(name)
    return _networks().get(name, lambda: _checkpoint(name))


@st.cache_resource(show_spinner=False)
def _networks() -> LruCache[Checkpoint]:
    return LruCache(CACHES["ui.resources._networks"], weight_bytes)


def weight_bytes(loaded: Checkpoint) -> int:
    values = [*loaded.network.parameters(), *loaded.network.buffers()]
    return sum(value.nbytes for value in values)


def _published(key: str) -> Checkpoint:
    with st.spinner("Loading the weights"):
        return torchvision_models.load(key)


def published_key(name: str) -> str:
    """torchvision's name of that network, or "" where it is not one of torchvision's."""
    key = name.removeprefix("torchvision-")
    return key if key != name and key in torchvision_models.PUBLISHED else ""


def class_names(name: str) -> tuple[str, ...]:
    key = published_key(name)
    return torchvision_models.PUBLISHED[key].class_names if key else about(name).class_names


def first_picture(name: str) -> str:
    """The `picture` of an AppState with a drawn shape which that network knows: the usual one, if it can.

    Raises CheckpointError.
    """
    known = [label for label, shape in enumerate(shapes.CLASS_NAMES) if shape in class_names(name)]
    usual, number = AppState.picture.split("-")[1:]
    return AppState.picture if int(usual) in known or not known else f"sample-{known[0]}-{number}"


def spec(name: str) -> ArchitectureSpec:
    """That network's architecture, without its weights. Raises CheckpointError."""
    key = published_key(name)
    return torchvision_models.PUBLISHED[key].spec if key else about(name).spec


def about(name: str) -> Header:
    """What the file of that network says of it: lists of many networks need no weights. Not for torchvision's.

    Raises CheckpointError.
    """
    if name in catalogue()[0]:
        return catalogue()[0][name]
    path = _file_of(name)
    if path is None or not path.is_file():
        raise CheckpointError("this network is not here any more; choose another one.")
    return _about(f"{path}/{path.stat().st_mtime_ns}", path)


@st.cache_resource(max_entries=CACHES["ui.resources._about"].entries, show_spinner=False)
def _about(key: str, _path: Path) -> Header:
    return checkpoints.read_header(_path)


def _file_of(name: str) -> Path | None:
    trained = kept_models.RUN_NETWORK.fullmatch(name)
    if trained:
        run = runs.find(trained[1])
        return run.network_file(trained[2]) if run else None
    if name in catalogue()[0]:
        return checkpoints.PRETRAINED / f"{name}.safetensors"
    return kept_models.file_of(name)


def _checkpoint(name: str) -> Checkpoint:
    trained = kept_models.RUN_NETWORK.fullmatch(name)
    if not trained:
        return checkpoints.load_pretrained(name)
    run = runs.find(trained[1])
    if run is None:
        raise CheckpointError("the run that trained this network is deleted; choose another network.")
    return checkpoints.load(run.network_file(trained[2]))


def pictures() -> Pictures:
    """This session's own. Not in a cache, which Streamlit empties when the connection is lost."""
    return session().pictures


def subject_of(state: AppState) -> Subject | None:
    """The picture of this view, or None where it was uploaded in another session and is not here."""
    if state.sample is not None:
        return sample_subject(*state.sample)
    return pictures().get(state.picture)


@st.cache_resource(show_spinner=False, scope="session")
def passes() -> Passes:
    """This session's own: they go when it goes."""
    return Passes()


def chosen_networks(state: AppState) -> list[ChosenNetwork]:
    """The networks of the view, with their colours beside each other. Raises CheckpointError."""
    networks = {name: checkpoint(name) for name in filter(None, (state.first, state.second))}
    called = titles({name: loaded.spec.name for name, loaded in networks.items()})
    chosen: list[ChosenNetwork] = []
    for name, loaded in networks.items():
        chosen.append(ChosenNetwork(name, loaded, *mark(loaded, chosen), called[name]))
    return chosen


def mark(loaded: Checkpoint, before: Sequence[ChosenNetwork | Looked]) -> tuple[str, bool]:
    """The colour of a network beside those `before` it, and whether its lines are dashed, as another one has it."""
    colour = figures.network_colour(loaded.spec.shortcut, theme())
    return colour, any(other.colour == colour for other in before)
