"""Tests. A package, so that `e2e` is one within the same names."""
