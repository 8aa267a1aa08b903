"""What a link names that is not here: it is said, and can be brought again. Everything else stays as in the link."""

from collections.abc import Callable, Mapping, Sequence

import streamlit as st

from explorer.ui import address, kept_models, navigation, resources
from explorer.ui.markdown import as_code, as_text
from explorer.ui.picture import upload_picture
from explorer.ui.session import Awaited, session

PLACES = ("First network", "Second network", "Third network", "Fourth network")


def of(names: Sequence[str | None]) -> dict[str, str]:
    """The networks of a link that are not here: their names by their places."""
    return {place: name for place, name in zip(PLACES, names, strict=False) if name and not resources.is_network(name)}


def companion(name: str) -> str | None:
    """The network that stands in beside that one: its twin, else another one of the same classes; None without."""
    known = resources.class_names(name)
    others = [other for other in resources.catalogue()[0] if other != name and resources.class_names(other) == known]
    return resources.twin_name(name) or next(iter(others), None)


def say(lost: Mapping[str, str], shown: Sequence[str], picture: bool, change: Callable[..., None]) -> None:
    """A box that names each network that is `lost`, what is `shown`, and the `picture` where that is lost too, and
    offers to bring them again. `change` puts a picture into the view."""
    session().awaited = None  # it was asked for on a page that is here again
    if not lost and not picture:
        return
    with st.container(border=True, key="gone"):
        lines = [f"- **{place}**: {_words(name)}" for place, name in lost.items()]
        if picture:
            lines.append(
                "- **Picture**: this link was made with an uploaded picture, which never leaves the session it was "
                "uploaded in. A drawn shape stands in."
            )
        st.markdown("\n".join(["**Not everything in this link is here.**\n", *lines]))
        if lost:
            st.caption(_meanwhile(shown))
        _offer(lost)
        if picture:
            upload_picture("The picture of the link", "upload_again", change)


def _words(name: str) -> str:
    """What that network was, and why it is not here."""
    if resources.published_key(name):
        return f"{as_text(resources.title(name))}, whose weights are not downloaded on this machine."
    if kept_models.MINE.fullmatch(name):
        return f"an upload ({as_code(name)}). Uploads stay in the session that they were made in."
    if kept_models.SHARED.fullmatch(name):
        days = kept_models.SHARED_DAYS
        return f"a shared network. Its owner has deleted it, or it was not opened for {days} days; ask for a new link."
    if kept_models.RUN_NETWORK.fullmatch(name):
        return f"a network of a training ({as_code(name[:8])}) that was deleted."
    return f"{as_code(name)}, a name that no network here has."


def _meanwhile(shown: Sequence[str]) -> str:
    linked = set(_named_in_address())
    labels = resources.labels(shown)
    told = [f"{as_text(labels[name])} ({'as in the link' if name in linked else 'stands in'})" for name in shown]
    return f"Shown now: {', '.join(told)}."


def _named_in_address() -> list[str]:
    query = address.query()
    return [name for field in ("first", "second", "networks") for name in query.get(field, "").split(",")]


def _offer(lost: Mapping[str, str]) -> None:
    """A button for each network that can be brought again; the view of the link opens when it is here."""
    with st.container(horizontal=True):
        for place, name in lost.items():
            words = None
            if resources.published_key(name):
                words, query = "Download the", {"model": name}
            elif kept_models.MINE.fullmatch(name):
                words, query = "Upload the", {}
            if words and st.button(f"{words} {place.lower()} on Models", key=f"gone_{place}"):
                linked = dict(address.query())
                session().awaited = Awaited(session().page, linked, name)
                navigation.go("models", query)


def awaited() -> str | None:
    """The name of the network that a link waits for, where somebody went to bring it again."""
    waiting = session().awaited
    return waiting.name if waiting else None


def open_awaited(name: str) -> bool:
    """Opens the link that waits, with the network of that name in the place of the one that is gone; False without."""
    waiting = session().awaited
    session().awaited = None
    if waiting is None:
        return False
    query = {
        field: ",".join(name if part == waiting.name else part for part in text.split(","))
        if field in ("first", "second", "networks")
        else text
        for field, text in waiting.query.items()
    }
    navigation.go(waiting.page, query)
    return True
