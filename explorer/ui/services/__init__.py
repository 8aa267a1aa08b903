"""What the pages share and what answers the browser: nothing here imports Streamlit."""
