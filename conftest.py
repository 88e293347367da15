"""Doctests and examples of the documentation load the embedded model once."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope="session")
def mini_loaded_once() -> Iterator[None]:
    """Give each classifier with the model `mini` a copy of one that was read before."""
    import merclip.classifier

    load_model, kept = merclip.classifier.load_model, []

    def load(model: Any, **options: Any) -> Any:
        changes = (options.get("network"), options.get("preprocess"), options.get("pretrained"))
        if model != "mini" or any(change is not None for change in changes):
            return load_model(model, **options)
        if not kept:
            kept.append(load_model(model, **options))
        return copy.deepcopy(kept[0])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(merclip.classifier, "load_model", load)
        yield


@pytest.fixture(autouse=True)
def quick_doctests(request: pytest.FixtureRequest) -> None:
    """Use it for doctests."""
    if isinstance(request.node, pytest.DoctestItem):
        request.getfixturevalue("mini_loaded_once")
