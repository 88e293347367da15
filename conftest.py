"""Doctests and examples of the documentation load the embedded model once."""

from __future__ import annotations

import copy
from typing import Any

import pytest


@pytest.fixture(scope="session")
def kept_models() -> list[Any]:
    """Return where the embedded model is kept after it was read."""
    return []


@pytest.fixture
def mini_loaded_once(kept_models: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each classifier with the model `mini` a copy of one that was read before."""
    import merclip.classifier

    load_model = merclip.classifier.load_model

    def load(model: Any, **options: Any) -> Any:
        changes = (options.get("network"), options.get("preprocess"), options.get("pretrained"))
        if not isinstance(model, str) or model != "mini" or changes != (None, None, None):
            return load_model(model, **options)
        if not kept_models:
            kept_models.append(load_model(model, **options))
        return copy.deepcopy(kept_models[0])

    monkeypatch.setattr(merclip.classifier, "load_model", load)


@pytest.fixture(autouse=True)
def quick_doctests(request: pytest.FixtureRequest) -> None:
    """Use it for doctests."""
    if isinstance(request.node, pytest.DoctestItem):
        request.getfixturevalue("mini_loaded_once")
