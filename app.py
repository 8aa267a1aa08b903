"""Entry point: `streamlit run app.py`. Page setup and navigation, nothing else."""

import streamlit as st

from explorer.ui import navigation
from explorer.ui.pages import build, compare, explore, gradients, models

st.set_page_config(page_title="CNN & ResNet Explorer", layout="wide", page_icon="🔍")
navigation.run(
    {
        "explore": ("Explore", explore.show),
        "build": ("Build & train", build.show),
        "compare": ("Compare", compare.show),
        "gradients": ("Gradients", gradients.show),
        "models": ("Models", models.show),
    }
)
