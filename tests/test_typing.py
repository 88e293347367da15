"""Strict type checking of what users write: tests/typing/right.py and wrong.py."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

import merclip
from merclip import EmotionClassifier

FOLDER = Path(__file__).parent / "typing"
MESSAGE = re.compile(r"(?P<file>\w+)\.py:(?P<line>\d+): (?P<kind>note|error): (?P<text>.*)")


@pytest.fixture(scope="module")
def messages(request):
    """Return mypy's messages as a user sees them, without this project's settings."""
    # Numpy, pandas and torch take mypy some seconds; kept beside pytest's own cache.
    cache = request.config.cache.mkdir("mypy")
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={cache}"]
    done = subprocess.run(
        [*command, "right.py", "wrong.py"], cwd=FOLDER, capture_output=True, text=True
    )
    assert not done.stderr
    found = [match.groupdict() for match in map(MESSAGE.match, done.stdout.splitlines()) if match]
    assert found, done.stdout
    return found


def _expected(name: str) -> dict[int, str]:
    lines = (FOLDER / f"{name}.py").read_text(encoding="utf-8").splitlines()
    marked = ((number, line.partition("  # -> ")) for number, line in enumerate(lines, 1))
    return {number: parts[2] for number, parts in marked if parts[1]}


def _short(kind: str) -> str:
    """Return a type without the modules of its names."""
    return re.sub(r"\b(?:\w+\.)+(?=\w)", "", kind)


def test_strict_checking_sees_the_types_that_users_expect(messages):
    right = [message for message in messages if message["file"] == "right"]
    assert [message for message in right if message["kind"] == "error"] == []
    revealed = {
        int(message["line"]): _short(message["text"].split('"')[1])
        for message in right
        if message["text"].startswith("Revealed type")
    }
    assert revealed == _expected("right")


def test_strict_checking_finds_mistakes(messages):
    codes = defaultdict(set)
    for message in messages:
        if message["file"] == "wrong" and message["kind"] == "error":
            codes[int(message["line"])].add(message["text"].rpartition("[")[2].rstrip("]"))
    assert dict(codes) == {line: {code} for line, code in _expected("wrong").items()}


def test_the_package_says_that_it_is_typed():
    assert (Path(merclip.__file__).parent / "py.typed").exists()


def test_arrays_have_the_dtypes_that_their_types_say(tiny):
    clf: EmotionClassifier = tiny(["happy", "sad"])
    assert clf.predict_proba(text="hi").dtype == np.float64
    assert clf.predict_log_proba(text="hi").dtype == np.float64
    assert clf.decision_function(text="hi").dtype == np.float32
    assert clf.with_labels(["a", "b", "c"]).decision_function(text="hi").dtype == np.float32
