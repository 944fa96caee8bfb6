"""What an answer is worth: its expected recall."""

from collections.abc import Callable

Worth = tuple[float, float]  # recall, and the bound that nine of ten answers reach
Estimate = Worth | Callable[[], Worth]  # known, or worked out when it is read: a sixth of what a search costs by itself
