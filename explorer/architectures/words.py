"""A network in words, where its name is not enough."""

from explorer.architectures.spec import ArchitectureSpec
from explorer.labels import label, listed


def variant_words(spec: ArchitectureSpec) -> list[str]:
    """What its name does not say of its residual blocks; nothing of the usual ones."""
    words = [f"shortcuts {listed(spec.shortcuts)}"] if len({*spec.shortcuts}) > 1 else []
    words += [f"shortcuts × {spec.shortcut_gain:g}"] if spec.shortcut_gain != 1 else []
    words += [label("branch_start", spec.branch_start)] if spec.branch_start != "full" else []
    return words + ([f"stochastic depth {spec.stochastic_depth:g}"] if spec.stochastic_depth else [])
