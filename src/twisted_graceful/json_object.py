"""What other processes and files say about themselves, as JSON has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

JsonObject: TypeAlias = Mapping[str, Any]
"""A decoded object of JSON, whose reader knows the types of the values or checks them."""
