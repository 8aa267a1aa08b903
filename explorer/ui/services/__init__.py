"""Inference, caches, stored models and page states: shared by pages and endpoints, without Streamlit."""
