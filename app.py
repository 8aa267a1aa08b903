"""Entry point: `streamlit run app.py`. The server, page setup and navigation, nothing else."""

import streamlit as st

from explorer.ui import navigation, server
from explorer.ui.pages import build, compare, experiments, explore, gradients, in_class, models

if __name__ == "__main__":  # as a script, for every run of a session
    st.set_page_config(page_title="CNN & ResNet Explorer", layout="wide", page_icon="🔍")
    navigation.run(
        {
            "explore": ("Explore", explore.show),
            "compare": ("Compare", compare.show),
            "gradients": ("Gradients", gradients.show),
            "experiments": ("Experiments", experiments.show),
            "build": ("Build & train", build.show),
            "models": ("Models", models.show),
            "class": ("In class", in_class.show),
        }
    )
else:  # as a module, once: Streamlit takes the `st.App` of this file
    app = st.App(
        __file__,
        routes=server.routes(),
        middleware=server.middleware(),
        lifespan=server.lifespan,
        on_script_error=navigation.on_script_error,
    )
