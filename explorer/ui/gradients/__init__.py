"""Gradients: how large the gradients of networks are along their depth, and what their flow says."""
