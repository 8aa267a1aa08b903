"""Entry point: `streamlit run app.py`. Page setup and navigation, nothing else."""

import streamlit as st

from explorer.ui.pages import explore

st.set_page_config(layout="wide", page_icon="🔍")
page = st.navigation(
    [st.Page(explore.show, title="CNN & ResNet Explorer", url_path="explore", default=True)], position="hidden"
)
page.run()
