"""Models, the kept ensembles: what each consists of, where it opens, and the ways to take it away or delete it."""

from functools import partial
from typing import Any

import streamlit as st

from explorer.checkpoints import CheckpointError
from explorer.ui import client, navigation, network_registry
from explorer.ui.markdown import as_text, table
from explorer.ui.services import ensemble_store
from explorer.ui.services.ensemble_store import KeptEnsemble
from explorer.ui.services.explore_state import AppState
from explorer.ui.widgets.callback_errors import report_errors
from explorer.ui.widgets.deletion import delete_button


def section() -> None:
    """The user's ensembles, the newest first; nothing where there is none."""
    kept = ensemble_store.kept(client.owner())
    if not kept:
        return
    st.subheader("Your ensembles", anchor=False)
    st.caption(
        "An ensemble answers with the weighted mean of its networks' probabilities. It opens in Compare. The other "
        "pages look into one network at a time, so they open its members."
    )
    for each in kept:
        with st.expander(as_text(each.title), expanded=each is kept[0]):
            _card(each)


def _card(kept: KeptEnsemble) -> None:
    ensemble = kept.ensemble
    test = (ensemble.metrics or {}).get("test")
    known = _accuracy_text(test, (ensemble.metrics or {}).get("data"))
    st.markdown(as_text(f"{len(ensemble.members)} networks, {len(ensemble.class_names)} classes. {known}".strip()))
    if ensemble.learned_on:
        st.caption(as_text(ensemble.learned_on))
    states = [member_state(member.name, member.digest) for member in ensemble.members]
    rows = [
        [as_text(member.title), f"{weight:.3f}", state or "here"]
        for member, weight, state in zip(ensemble.members, ensemble.weights, states, strict=True)
    ]
    st.markdown(table(["network", "weight", "state"], rows))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if not any(states) and len(ensemble.members) > 1:
            if st.button("Open in Compare", key=f"open-{kept.id}", type="primary"):
                navigation.switch_page("compare", compare_query(kept))
            for member in ensemble.members:
                if st.button(f"Explore {as_text(member.title)}", key=f"explore-{kept.id}-{member.digest[:8]}"):
                    picture = network_registry.sample_for(member.name)
                    navigation.switch_page("explore", AppState(member.name, None, picture=picture).to_query())
        navigation.download_button(
            "Download as JSON",
            data=ensemble.to_json,
            file_name="ensemble.json",
            mime="application/json",
            key=f"json-{kept.id}",
            help="The members by the checksums of their weights, and the weights: `python -m explorer ensemble FILE` "
            "measures it.",
        )
        delete_button(kept.id, partial(_delete, kept.id), key=f"delete-{kept.id}")


def _accuracy_text(test: Any, data: Any) -> str:
    if not isinstance(test, dict) or not isinstance(test.get("accuracy"), int | float) or not test.get("n"):
        return "Its accuracy was not measured when it was kept."
    return f"Test accuracy {test['accuracy']:.2%} on {data} (n = {test['n']:,})."


def member_state(name: str, digest: str) -> str:
    """Why that member cannot be used, in some words; "" where it is the network that was chosen."""
    if not network_registry.is_network(name):
        return "is not here any more"
    try:
        return "" if network_registry.weights_digest(name) == digest else "has other weights now"
    except CheckpointError:
        return "cannot be read"


def compare_query(kept: KeptEnsemble) -> dict[str, str]:
    """The view of Compare that shows that ensemble."""
    names = ",".join(member.name for member in kept.ensemble.members)
    return {"networks": names, "tab": "ensemble", "weights": f"kept-{kept.id}"}


def _delete(name: str) -> None:
    with report_errors("the ensemble cannot be removed", "try again"):
        ensemble_store.delete(client.owner(), name)
