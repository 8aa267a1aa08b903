"""The bar above every page: the pair of networks, the picture and the class that all pages share.

They stand in the query of every page, as fields of an `AppState`; Compare, which has up to four networks, names them
in one field. A page that the user enters by the menu shows the pair of the page before. What Explore changes of the
picture and of the networks travels to Experiments and back; other pages show both as they are. The step of the
training travels among the pages of WITH_STEP; others show the finished networks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import streamlit as st

from explorer.datasets import shapes
from explorer.experiments.attacks import AimedAttack
from explorer.images import MAX_BYTES, PHOTOS
from explorer.ui import client, network_registry, url_query
from explorer.ui.markdown import without_bidi
from explorer.ui.services.explore_state import NAME, PASS_FIELDS, AppState
from explorer.ui.services.offered_networks import OfferedNetworks
from explorer.ui.services.sample_sheets import COLUMNS, SCENES, scene_sheets
from explorer.ui.session import explore_session, find_image, session
from explorer.ui.viewer import places

FIELDS = ("first", "second", "picture", "frame", "paper", "target")
CHANGES = ("dials", "change", "attack")
WITH_CHANGES = ("explore", "experiments")
WITH_STEP = ("explore", "compare", "gradients")
MOST_COMPARED = 4
NETWORK_FIELDS = ("first", "second", "networks", "others", "model")
"""Of the query of any page, with names of networks between commas."""
_TRAVELLING = (*FIELDS, *CHANGES, "step")


def fields_of(page: str) -> tuple[str, ...]:
    """The fields of the pair, and of what is changed of it, that stand in the query of that page."""
    return (*FIELDS, *(CHANGES if page in WITH_CHANGES else ()), *(("step",) if page in WITH_STEP else ()))


def of_query(page: str, query: Mapping[str, str]) -> dict[str, str]:
    """The pair in the query of that page, without what is as by default."""
    pair = {name: query[name] for name in fields_of(page) if name in query}
    if page == "compare" and len(names := _compared(query)) > 1:
        pair |= {"first": names[0], "second": names[1]}
    return {name: value for name, value in AppState.from_query(pair).to_query().items() if name in fields_of(page)}


def is_between(page: str, query: Mapping[str, str]) -> bool:
    """Whether no view of that page has this query. Streamlit writes the path and the query of an address one after the
    other, so Back also reaches addresses without fields, and those with the path of one page and the pair of another.
    """
    foreign = {"first", "second"} if page == "compare" else {"networks"}
    return not query or bool(foreign & {*query})


def into_query(page: str, query: Mapping[str, str], pair: Mapping[str, str]) -> dict[str, str]:
    """The query of that page with another pair. Compare keeps its third and fourth network, and takes two at least."""
    rest = {name: value for name, value in query.items() if name not in (*fields_of(page), "networks")}
    if page != "compare":
        return rest | {name: value for name, value in pair.items() if name in fields_of(page)}
    state = AppState.from_query(pair)
    names = [state.first, state.second or network_registry.companion(state.first)]
    names += [name for name in _compared(query)[2:] if name not in names]
    if len(names) > 2 or {"first", "second"} & set(pair):
        rest["networks"] = ",".join(filter(None, names[:MOST_COMPARED]))
        if rest["networks"] != query.get("networks"):
            rest.pop("measured", None)  # a link asks for measurements of its own networks
    return rest | {name: pair[name] for name in ("picture", "frame", "paper", "target", "step") if name in pair}


def _compared(query: Mapping[str, str]) -> list[str]:
    return [name for name in query.get("networks", "").split(",") if NAME.fullmatch(name)]


def present(query: Mapping[str, str]) -> dict[str, str]:
    """The query without the networks of Compare that are missing, where two at least are here: it shows these."""
    names = [name for name in _compared(query) if network_registry.is_network(name)]
    return {**query, "networks": ",".join(names)} if len(names) > 1 else dict(query)


def first_view() -> dict[str, str]:
    """What a browser sees that opens the app at an address without a view: the deepest twins that come with the app for
    the shapes, on the test picture on which they part. A link that names some fields means what it always did."""
    offered = network_registry.offered_networks(network_registry.shipped_networks())
    points = offered.depths.get(shapes.Drawn().name, ())
    if not points or st.context.url is None:
        return {}
    first, second = points[-1].twins.names
    picture = points[-1].picture or AppState.picture
    return AppState(first=first, second=second, picture=picture).to_query()


def follow_query(page: str) -> None:
    """Takes the pair of the query, before and after each run: a link, Back or a control of the page may change it. What
    the page has no field for stays, and stands in its query too."""
    query = url_query.read()
    own = _own_fields(page, query)
    written = fields_of(page)
    kept = {
        name: value
        for name, value in session().pair.items()
        if name not in written or (name not in own and name not in query)
    }
    session().pair = kept | of_query(page, query)
    if shown := {name: value for name, value in kept.items() if name in written}:
        url_query.write(query | shown)


def _own_fields(page: str, query: Mapping[str, str]) -> Sequence[str]:
    """The fields that the page writes itself, so that one that is not there has its default."""
    if page == "gradients":
        return () if query.get("source", "initial") == "initial" else ("first", "second", "step")
    fields = fields_of(page)
    return fields if page in ("explore", "compare") or set(fields) & set(query) else ()


def parse_choice(received: Any) -> dict[str, Any]:
    """The fields of an AppState that were chosen in the browser, which may send anything; none where that is no choice.
    The browser then goes back to the view of the page."""
    if not isinstance(received, Mapping) or not isinstance(received.get("number"), int):
        return {}
    session().heard = received["number"]
    changes = {name: received[name] for name in PASS_FIELDS if name in received}
    if "picture" in changes:
        changes = {"frame": None} | changes  # a frame is of its picture
    try:
        if "networks" in received:
            first, second = (*received["networks"], None)[:2]
            changes = {"step": None} | changes | {"first": first, "second": second}  # a step is of its networks
        AppState(**changes)
    except (ValueError, TypeError):
        return {}
    return changes


def _take_choice(page: str, received: Any) -> None:
    """On a page without the viewer, which has its own way."""
    if changes := parse_choice(received):
        query = url_query.read()
        pair = replace(AppState.from_query(session().pair), **changes).to_query()
        session().pair = {name: value for name, value in pair.items() if name in _TRAVELLING}
        url_query.write(into_query(page, present(query) if "first" in changes else query, session().pair))


def use(page: str, name: str, place: Literal["first", "second"]) -> None:
    """Puts a network into the pair, on a page that has no pair of its own. The other network stays where it knows the
    same classes, else the twin comes; the picture, and the class of an attack, stay with the classes."""
    state = AppState.from_query(session().pair)
    other = state.second if place == "first" else state.first
    alike = [each for each in (other, state.first) if each and network_registry.is_network(each)]
    alike = [each for each in alike if network_registry.same_classes(name, each)]
    if other not in alike or other == name:
        other = network_registry.substitute(name)
    first, second = (name, other) if place == "first" or other is None else (other, name)
    picture = state.picture if alike else network_registry.sample_for(name)
    frame = state.frame if picture == state.picture else None
    attack = state.attack if alike else replace(AimedAttack.from_text(state.attack), target=None).to_text()
    chosen = replace(state, first=first, second=second, target=None, picture=picture, frame=frame, attack=attack)
    pair = replace(chosen, step=None).to_query()
    session().pair = {field: value for field, value in pair.items() if field in _TRAVELLING}
    url_query.write(into_query(page, url_query.read(), session().pair))


def change(**texts: str) -> None:
    """Sets fields of CHANGES, on a page that shows them; "" takes one back."""
    session().pair = {name: text for name, text in (session().pair | texts).items() if text}
    url_query.write({name: text for name, text in (url_query.read() | texts).items() if text})


def rename_network(before: str, after: str) -> None:
    """Lets the pair and the last view of every page mean a network by its new name."""
    session().pair = with_network(session().pair, before, after)
    session().views = {page: with_network(query, before, after) for page, query in session().views.items()}


def with_network(query: Mapping[str, str], before: str, after: str) -> dict[str, str]:
    """The query with another network in the place of the one named `before`."""
    return {
        field: ",".join(after if name == before else name for name in value.split(","))
        if field in NETWORK_FIELDS
        else value
        for field, value in query.items()
    }


def show(page: str) -> None:
    """Draws the bar; nothing where there is no network at all."""
    if not network_registry.network_names():
        return
    state = AppState.from_query(session().pair)
    mixed = _can_mix(page)
    names = _shown(page, state, mixed)
    offered = network_registry.offered_networks([*network_registry.network_names(), *names])
    explore_session().offered = offered
    image = find_image(state)
    data = {
        "token": explore_session().token,
        "view": {**{name: getattr(state, name) for name in PASS_FIELDS}, "networks": names, "theme": client.theme()},
        "title": without_bidi(image.plain_title) if image else "",
        "limit": MAX_BYTES // 2**20,
        "mixed": mixed,
        "alone": page != "compare",
        **_lists(offered, names),
        **_gallery(state, network_registry.class_names(names[0])),
        "photos": [{"name": name, "title": photo.title, "source": photo.source} for name, photo in PHOTOS.items()],
    }
    places.bar(data, lambda received: _take_choice(page, received))


def _shown(page: str, state: AppState, mixed: bool) -> list[str]:
    """The names of the one or two networks that the page shows."""
    compared = _compared(present(url_query.read())) if page == "compare" else []
    if len(compared) > 1 and all(map(network_registry.is_network, compared)):
        return compared[:2]
    first, second = network_registry.pair(state.first, state.second, mixed)
    if page == "compare":
        second = second or network_registry.companion(first)
    return [first] if second is None else [first, second]


def _can_mix(page: str) -> bool:
    """Whether the page shows two networks of different classes."""
    return page == "compare" or (page == "gradients" and url_query.read().get("source") == "record")


def _lists(offered: OfferedNetworks, shown: Sequence[str]) -> dict[str, Any]:
    known: list[tuple[str, ...]] = []
    networks = []
    for name, label in offered.labels.items():
        classes = network_registry.class_names(name)
        if classes not in known:
            known.append(classes)
        group = network_registry.group(name)
        networks.append({"name": name, "label": label, "group": group, "known": known.index(classes)})
    classes = network_registry.class_names(shown[0])
    return {
        "networks": networks,
        "twins": offered.twins,
        "classes": [without_bidi(name) for name in classes],
        "known": known.index(classes),
    }


def _gallery(state: AppState, known: Sequence[str]) -> dict[str, Any]:
    """The ten drawn shapes of one scene: where some shapes are among the `known` classes, the others are marked."""
    label, number = state.sample or (6, 6)
    return {
        "picture": f"sample-{label}-{number}",
        "shown": state.sample is not None,
        "names": list(shapes.CLASS_NAMES),
        "strange": [name not in known for name in shapes.CLASS_NAMES] if set(shapes.CLASS_NAMES) & set(known) else [],
        "columns": COLUMNS,
        "scenes": SCENES,
        "sheets": scene_sheets((label, number)),
    }
