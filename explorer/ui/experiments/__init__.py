"""The page Experiments: questions that need a hand on the network, each with its cost, its answer and its limits."""
