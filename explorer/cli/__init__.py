"""The commands of `python -m explorer`: the arguments and the result of each."""

from typing import Any

CommandResult = tuple[dict[str, Any], list[str]]
"""As a JSON document, and as lines for a person."""
