"""Explore: one picture as a network sees it, layer by layer, and what each layer's detail shows."""
