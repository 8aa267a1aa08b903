"""Units: one channel of one layer, by the pictures that it answers to, its weights, and what changes without it."""
