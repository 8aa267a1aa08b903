"""What a link names and the app does not have. The page says so and offers to bring it; the rest is as in the link."""

from collections.abc import Callable, Mapping, Sequence

import streamlit as st

from explorer.ui import navigation, network_registry, url_query, user_models
from explorer.ui.markdown import as_code, as_text
from explorer.ui.session import PendingLink, session
from explorer.ui.widgets.image_picker import image_upload

PLACES = ("First network", "Second network", "Third network", "Fourth network")
NETWORK_FIELDS = ("first", "second", "networks")  # of a query; names are separated by commas


def missing_networks(names: Sequence[str | None]) -> dict[str, str]:
    """The missing networks of a link, by their places."""
    places = zip(PLACES, names, strict=False)
    return {place: name for place, name in places if name and not network_registry.is_network(name)}


def substitute(name: str) -> str | None:
    """The network to show beside that one instead of a missing one: its twin, else one of the same classes, or None."""
    shipped = network_registry.shipped_networks()
    alike = [other for other in shipped if other != name and network_registry.same_classes(name, other)]
    return network_registry.twin_name(name) or next(iter(alike), None)


def show_missing(
    networks: Mapping[str, str], shown: Sequence[str], image_is_missing: bool, change: Callable[..., None]
) -> None:
    """A box that names what is missing and what is shown instead, with a button or field for each thing that the user
    can bring. `change(picture=...)` puts an image into the view."""
    session().pending_link = None  # the user is on a page again
    if not networks and not image_is_missing:
        return
    with st.container(border=True, key="gone"):
        lines = [f"- **{place}**: {_reason(name)}" for place, name in networks.items()]
        if image_is_missing:
            lines.append(
                "- **Picture**: this link was made with an uploaded picture, which never leaves the session it was "
                "uploaded in. A drawn shape stands in."
            )
        st.markdown("\n".join(["**Not everything in this link is here.**\n", *lines]))
        if networks:
            st.caption(_shown_instead(shown))
        with st.container(horizontal=True):
            for place, name in networks.items():
                _offer(place, name)
        if image_is_missing:
            image_upload("The picture of the link", "upload_again", change)


def _reason(name: str) -> str:
    if network_registry.torchvision_key(name):
        return f"{as_text(network_registry.title(name))}, whose weights are not downloaded on this machine."
    if user_models.UPLOAD_ID.fullmatch(name):
        return f"an upload ({as_code(name)}). Uploads stay in the session that they were made in."
    if user_models.SHARED_ID.fullmatch(name):
        days = user_models.SHARED_DAYS
        return f"a shared network. Its owner has deleted it, or it was not opened for {days} days; ask for a new link."
    if user_models.RUN_NETWORK_ID.fullmatch(name):
        return f"a network of a training ({as_code(name[:8])}) that was deleted."
    return f"{as_code(name)}, a name that no network here has."


def _shown_instead(shown: Sequence[str]) -> str:
    query = url_query.read()
    linked = {name for field in NETWORK_FIELDS for name in query.get(field, "").split(",")}
    labels = network_registry.unique_labels(shown)
    said = [f"{as_text(labels[name])} ({'as in the link' if name in linked else 'stands in'})" for name in shown]
    return f"Shown now: {', '.join(said)}."


def _offer(place: str, name: str) -> None:
    if network_registry.torchvision_key(name):
        verb, query = "Download", {"model": name}
    elif user_models.UPLOAD_ID.fullmatch(name):
        verb, query = "Upload", {}
    else:
        return
    if st.button(f"{verb} the {place.lower()} on Models", key=f"gone_{place}"):
        session().pending_link = PendingLink(session().page, url_query.read(), name)
        navigation.switch_page("models", query)


def open_pending_link(name: str) -> bool:
    """Opens the pending link with that network in the place of the missing one; False without such a link."""
    pending, session().pending_link = session().pending_link, None
    if pending is None:
        return False
    query = dict(pending.query)
    for field in {*NETWORK_FIELDS} & {*query}:
        query[field] = ",".join(name if part == pending.name else part for part in query[field].split(","))
    navigation.switch_page(pending.page, query)
    return True
