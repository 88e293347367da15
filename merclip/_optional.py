"""Optional packages, imported when first needed."""

from __future__ import annotations

import importlib
from typing import Any

from merclip.errors import MissingExtraError


def _import(module: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"This needs the package {module!r}: pip install 'merclip[{extra}]'."
        ) from error


def import_pandas() -> Any:
    """Return pandas, or say how to install it."""
    return _import("pandas", "pandas")


def import_matplotlib() -> Any:
    """Return matplotlib, or say how to install it."""
    return _import("matplotlib", "plot")
