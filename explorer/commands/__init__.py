"""The commands of `python -m explorer`: for each what can be typed behind it, and what it then has to say."""

from typing import Any

Answer = tuple[dict[str, Any], list[str]]
"""As a JSON document, and as lines for a person."""
