"""What a first prediction imports and builds, and that it leaves Python as it was."""

from __future__ import annotations

import subprocess
import sys

import torch
from torch import nn

from merclip.network.weights import Undrawn
from merclip.preprocess import text

FIRST = "from merclip import EmotionClassifier; clf = EmotionClassifier(['happy', 'sad'])\n"
TEXT = "clf.predict(text='hello')\n"


def output(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_first_prediction_loads_what_it_needs_alone():
    found = set(output(f"import sys\n{FIRST}{TEXT}print(*sys.modules)").split())
    assert not {"open_clip", "torchvision", "timm", "transformers", "sympy"} & found
    assert not {"torchaudio", "matplotlib", "huggingface_hub", "sklearn.metrics"} & found
    assert not {"torch._dynamo", "merclip.evaluation", "merclip.datasets"} & found


def test_the_search_for_garbage_goes_on_after_the_import():
    checks = "import gc; print(gc.isenabled(), gc.get_freeze_count())"
    assert output(f"{FIRST}{checks}") == "True 0"
    assert output(f"import gc; gc.disable()\n{FIRST}{checks}") == "False 0"
    kept = output(f"import gc; gc.freeze()\n{FIRST}{checks}").split()
    assert kept[0] == "True" and int(kept[1]) > 1000


def test_nothing_is_drawn_at_random_for_weights_that_a_file_brings():
    state = torch.get_rng_state()
    with Undrawn():
        layers = nn.Sequential(nn.Linear(3, 4), nn.Conv2d(3, 4, 2), nn.Embedding(5, 6))
        nn.init.normal_(layers[0].weight, std=0.1)
        norm = nn.BatchNorm2d(3)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(norm.weight, torch.ones(3)) and torch.equal(norm.running_var, torch.ones(3))
    assert not torch.equal(nn.Linear(3, 4).weight, nn.Linear(3, 4).weight)


def test_the_tokenizer_is_built_once_and_anew_when_it_has_seen_too_much(monkeypatch):
    text._tokenizer.cache_clear()
    ids = text.tokenize("what a lovely day").ids
    first = text._tokenizer()
    assert text._tokenizer() is first
    monkeypatch.setattr(text, "_MOST_WORDS", 0)
    assert torch.equal(text.tokenize("what a lovely day").ids, ids)
    assert text._tokenizer() is not first
