"""Public names are documented, and the examples of the documentation run."""

from __future__ import annotations

import importlib
import inspect
import re
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
import pytest
from media_files import tone, write_clip, write_sound

from merclip import EmotionClassifier, errors

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "docs" / "reference.md"
SECTION = re.compile(r"^(?P<name>[A-Z]\w+)\n-{3,}\n", re.MULTILINE)
BLOCK = re.compile(
    r"^(?P<mark><!-- not run: .+ -->\n+)?```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)
NEEDS_NETWORK = {"merclip.EmotionClassifier.push_to_hub"}
ORDER = (
    *("Parameters", "Attributes", "Returns", "Yields", "Raises", "Warns"),
    *("Notes", "References", "Examples"),
)


def _public() -> dict[str, Any]:
    """Return every public class and function by one of its names."""
    names = [
        f"{module}.{name}"
        for module in ("merclip", "merclip.datasets", "merclip.evaluation")
        for name in importlib.import_module(module).__all__
    ]
    names += re.findall(r"^::: (\S+)", REFERENCE.read_text(encoding="utf-8"), re.MULTILINE)
    names += [f"merclip.errors.{name}" for name in vars(errors) if not name.startswith("_")]
    found = {name: _resolve(name) for name in names}
    kept = {
        id(item): name
        for name, item in found.items()
        if (inspect.isclass(item) or inspect.isfunction(item))
        and item.__module__.startswith("merclip.")
    }
    return {name: found[name] for name in kept.values()}


def _resolve(name: str) -> Any:
    module, _, last = name.rpartition(".")
    try:
        return getattr(importlib.import_module(module), last)
    except AttributeError:
        return importlib.import_module(name)


def _members(public: dict[str, Any]) -> dict[str, Any]:
    """Return the public methods and properties that the public classes define."""
    found = {}
    for name, item in public.items():
        for member, value in vars(item).items() if inspect.isclass(item) else ():
            plain = getattr(value, "__func__", value)
            called = member == "__call__" and item is EmotionClassifier
            documented = inspect.isfunction(plain) or isinstance(plain, property)
            if documented and (called or not member.startswith("_")):
                found[f"{name}.{member}"] = plain
    return found


PUBLIC = _public()
MEMBERS = _members(PUBLIC)
CALLABLES = {
    **{
        name: item
        for name, item in PUBLIC.items()
        if not getattr(item, "_is_protocol", False)
        and not (inspect.isclass(item) and issubclass(item, (Exception, errors.MerclipError)))
    },
    **{name: item for name, item in MEMBERS.items() if inspect.isfunction(item)},
}


def _sections(item: Any) -> dict[str, str]:
    text = inspect.getdoc(item) or ""
    parts = SECTION.split(text)
    return {"summary": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def _named(section: str) -> list[str]:
    """Return the names that a section of parameters describes."""
    heads = [line for line in section.splitlines() if line and not line.startswith(" ")]
    return [name.strip(" *") for head in heads for name in head.split(" : ")[0].split(",")]


def _parameters(item: Any) -> list[str]:
    found = list(inspect.signature(item).parameters)
    return [name for name in found if name not in ("self", "cls")]


@pytest.mark.parametrize("name", [*PUBLIC, *MEMBERS])
def test_every_public_name_has_a_docstring_in_numpys_form(name):
    found = _sections({**PUBLIC, **MEMBERS}[name])
    first = found["summary"].partition("\n")[0]
    assert first.endswith((".", ":")), "a summary is one line that ends in a full stop"
    given = [section for section in found if section != "summary"]
    assert given == sorted(given, key=ORDER.index)


@pytest.mark.parametrize("name", CALLABLES)
def test_every_parameter_is_described_and_no_other(name):
    item = CALLABLES[name]
    fields = inspect.isclass(item) and issubclass(item, tuple)
    described = _named(_sections(item).get("Attributes" if fields else "Parameters", ""))
    assert sorted(described) == sorted(_parameters(item))


@pytest.mark.parametrize("name", [name for name, item in CALLABLES.items() if callable(item)])
def test_what_is_returned_is_described(name):
    item = CALLABLES[name]
    if inspect.isclass(item):
        return
    nothing = inspect.signature(item).return_annotation in ("None", None)
    assert bool({"Returns", "Yields"} & set(_sections(item))) != nothing


@pytest.mark.parametrize(
    "name", [*PUBLIC, *(f"merclip.EmotionClassifier.{n}" for n in vars(EmotionClassifier))]
)
def test_every_public_class_and_function_has_an_example_that_runs(name):
    item = PUBLIC.get(name, MEMBERS.get(name))
    if item is None or isinstance(item, property):
        return
    lines = [line for line in _sections(item)["Examples"].splitlines() if line.startswith(">>>")]
    assert lines
    assert name in NEEDS_NETWORK or [line for line in lines if "+SKIP" not in line]


def _pages() -> Iterator[Any]:
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        text = path.read_text(encoding="utf-8")
        blocks = [
            "\n" * text.count("\n", 0, match.start("code")) + match["code"]
            for match in BLOCK.finditer(text)
            if not match["mark"]
        ]
        if blocks:
            yield pytest.param(path, blocks, id=path.name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with the repository's examples, and files of the names in the pages."""
    found = tmp_path_factory.mktemp("reader")
    shutil.copytree(ROOT / "examples", found / "examples", ignore=shutil.ignore_patterns("train_*"))
    for name in ("clip.mp4", "a.mp4"):
        write_clip(found / name)
    write_clip(
        found / "interview.mp4",
        video={"n": 40, "rate": 2},
        sound={"samples": tone(20, 8000), "rate": 8000},
    )
    for name in ("clip.wav", "b.wav"):
        write_sound(found / name)
    return found


@pytest.mark.parametrize(("path", "blocks"), list(_pages()))
def test_python_in_the_documentation_runs(path, blocks, folder, monkeypatch, mini_loaded_once):
    monkeypatch.chdir(folder)
    matplotlib.use("Agg")
    shared: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", errors.MerclipWarning)
        for code in blocks:
            exec(compile(code, path, "exec"), shared)
