"""Packages that only some commands need, and what to type when one is missing."""

from importlib import import_module
from types import ModuleType

from index.errors import FunnelError


class ExtraMissing(FunnelError):
    """A package of an extra is not installed; the message says how to get it."""


def extra_module(name: str, extra: str) -> ModuleType:
    """An imported module; ExtraMissing names its package and the extra that brings it."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        package = (error.name or name).split(".")[0].replace("_", "-")
        raise ExtraMissing(
            f"this needs {package}, which is not installed: pip install 'funnel-search[{extra}]'"
        ) from None
