"""Rooms import only from those before them, and heavy packages load late."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import merclip

PACKAGE = Path(merclip.__file__).parent
ROOMS = [
    {
        *("errors", "types", "_version", "_optional", "_shown"),
        *("_warn", "_progress", "_ahead", "_files", "_random"),
    },
    {"media"},
    {"inputs"},
    {"preprocess"},
    {"network"},
    {"labels", "_pasted", "scoring", "dialogues", "typical"},
    {"typing"},
    {"results"},
    {"exported"},
    {"precision"},
    {"engine", "parameters", "rows"},
    {"anchors"},
    {"training", "evaluation", "hub"},
    {"pickling"},
    {"session"},
    {"classifier", "conversation"},
    {"datasets", "plots", "cli"},
]
RANK = {room: rank for rank, rooms in enumerate(ROOMS) for room in rooms}


def _room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imported_rooms(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            modules = [node.module]
        elif isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        else:
            continue
        found |= {name.split(".")[1] for name in modules if name.startswith("merclip.")}
    return found


FILES = [
    path
    for path in PACKAGE.rglob("*.py")
    if path.name not in ("__init__.py", "__main__.py") or path.parent != PACKAGE
]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_from_rooms_before_it(path):
    room = _room(path)
    later = {other for other in _imported_rooms(path) if RANK[other] > RANK[room]}
    assert not later


def test_every_file_belongs_to_a_room():
    assert {_room(path) for path in FILES} <= set(RANK)


def _modules_after(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("statement", ["import merclip", "import merclip.cli"])
def test_importing_loads_no_heavy_package(statement):
    heavy = {"torch", "torchaudio", "open_clip", "sklearn", "pandas", "matplotlib", "av"}
    assert not heavy & _modules_after(statement)


def test_help_loads_no_torch():
    code = (
        "import sys, merclip.cli\n"
        "try: merclip.cli.main(['--help'])\n"
        "except SystemExit as stop: assert not stop.code\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_every_public_name_exists_and_is_documented():
    for name in merclip.__all__:
        assert getattr(merclip, name) is not None
        assert name == "__version__" or getattr(merclip, name).__doc__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="EmotionClasifier"):
        _ = merclip.EmotionClasifier


def test_predicting_with_mini_loads_no_package_of_clip():
    found = _modules_after(
        "from merclip import EmotionClassifier\n"
        "EmotionClassifier(['happy', 'sad']).predict(text='hello')"
    )
    assert not {"open_clip", "torchvision", "timm", "torchaudio", "matplotlib"} & found
