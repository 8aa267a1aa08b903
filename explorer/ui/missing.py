"""What a link names and the app does not have. The page says so and offers to bring it; the rest is as in the link."""

from collections.abc import Callable, Mapping, Sequence

import streamlit as st

from explorer.images import FORMATS, MAX_BYTES
from explorer.ui import bar, navigation, network_registry, url_query, user_models
from explorer.ui.markdown import as_code, as_text
from explorer.ui.session import PendingLink, session
from explorer.ui.widgets.callback_errors import report_errors, show_error
from explorer.ui.widgets.uploader import file_uploader

PLACES = ("First network", "Second network", "Third network", "Fourth network")
NO_NETWORK = "No network is here; train one on Build & train, or upload one on Models."
NO_IMAGE = "The image of this link is not here; choose another one in the bar."
_UPLOAD = "upload_again"


def missing_networks(names: Sequence[str | None]) -> dict[str, str]:
    """The missing networks of a link, by their places."""
    places = zip(PLACES, names, strict=False)
    return {place: name for place, name in places if name and not network_registry.is_network(name)}


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
                "- **Image**: this link was made with an uploaded image, which never leaves the session it was "
                "uploaded in. A drawn shape stands in."
            )
        st.markdown("\n".join(["**Not everything in this link is here.**\n", *lines]))
        if networks:
            st.caption(_shown_instead(shown))
        with st.container(horizontal=True):
            for place, name in networks.items():
                _offer(place, name)
        if image_is_missing:
            _upload_again(change)
            show_error()


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
    linked = {name for field in bar.NETWORK_FIELDS for name in query.get(field, "").split(",")}
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
    navigation.switch_page(pending.page, bar.with_network(pending.query, pending.name, name))
    return True


def _upload_again(change: Callable[..., None]) -> None:
    file_uploader(
        "The image of the link",
        key=_UPLOAD,
        on_change=_on_picture,
        args=(change,),
        max_upload_size=MAX_BYTES // 2**20,
        help=f"{FORMATS}, up to 50 megapixels and 64 MB. It stays in the memory of your session and leaves it "
        "with you.",
    )


def _on_picture(change: Callable[..., None]) -> None:
    if file := st.session_state[_UPLOAD]:
        with report_errors():
            change(picture=session().uploads.add(file.getvalue(), file.name))
