"""`merclip download`: all files on this machine, or one directory that needs nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clip_files import clip_model_files
from hub_server import Fault, Hub
from huggingface_hub import constants
from open_clip import factory, pretrained
from open_clip.model import CLIP
from safetensors.torch import save

from conftest import TINY
from merclip import EmotionClassifier
from merclip.cli import main

LABELS = ["happy", "sad", "angry"]
TEXTS = ["so good", "I hate it"]
SMALL = {"decoder": {"heads": 2}}


@pytest.fixture
def download(hub: Hub, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the command; return its status, stdout and stderr."""

    def run(*words: Any) -> tuple[int, str, str]:
        status = main(["download", *map(str, words)])
        captured = capsys.readouterr()
        # The bars of huggingface_hub end with a carriage return or line break.
        said = [line for line in captured.err.splitlines() if line.startswith("merclip:")]
        return status, captured.out, "\n".join(said)

    return run


@pytest.fixture
def small(hub: Hub, tmp_path: Path) -> EmotionClassifier:
    """Send "org/small", whose backbone lies at "org/clip"."""
    hub.commit("org/clip", clip_model_files())
    clf = EmotionClassifier(LABELS, model="org/clip", network=SMALL, random_state=0)
    folder = clf.save_pretrained(tmp_path / "small", card_data={"license": "mit"})
    hub.commit("org/small", folder)
    return clf


def same_scores(first: EmotionClassifier, second: EmotionClassifier) -> None:
    expected = first.decision_function(text=TEXTS)
    np.testing.assert_allclose(second.decision_function(text=TEXTS), expected, atol=1e-5)


def test_into_the_cache_with_the_backbone(
    download: Any, small: EmotionClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "mine"
    status, out, err = download("org/small", "--cache-dir", cache)
    assert (status, err) == (0, "")
    named = [line.split(maxsplit=1) for line in out.splitlines()]
    assert [name for name, _ in named] == ["model", "model", "model", "backbone", "use"]
    for word in ("config.json", "model.safetensors", "README.md", "models--org--clip"):
        assert word in out
    assert out.splitlines()[-1].endswith(
        f"HF_HUB_CACHE={cache} merclip predict FILE --model org/small"
    )
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    same_scores(small, EmotionClassifier.from_pretrained("org/small"))


def test_a_directory_that_needs_nothing_else(
    hub: Hub,
    download: Any,
    small: EmotionClassifier,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    target = tmp_path / "below" / "whole"
    status, out, err = download("org/small", "--to", target)
    assert (status, err) == (0, "")
    assert sorted(path.name for path in target.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    assert not any(path.is_symlink() for path in target.iterdir())
    assert [path.name for path in target.parent.iterdir()] == ["whole"]
    assert json.loads((target / "config.json").read_text())["backbone"] is None
    assert "license: mit" in (target / "README.md").read_text()
    hub.repositories.clear()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "empty"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    same_scores(small, EmotionClassifier.from_pretrained(target))
    status, _, err = download("org/small", "--to", target)
    assert status == 2 and "is not empty" in err


def test_a_checkpoint_that_is_whole_is_copied_as_it_is(
    hub: Hub, download: Any, tiny: Callable[..., EmotionClassifier], tmp_path: Path
) -> None:
    folder = tiny(LABELS).save_pretrained(tmp_path / "saved")
    commit = hub.commit("org/tiny", folder, token="hf_secret")
    hub.commit("org/tiny", {"README.md": b""}, token="hf_secret")
    (tmp_path / "empty").mkdir()
    status, _, err = download(
        "org/tiny", "--revision", commit, "--token", "hf_secret", "--to", tmp_path / "empty"
    )
    assert (status, err) == (0, "")
    for path in folder.iterdir():
        assert (tmp_path / "empty" / path.name).read_bytes() == path.read_bytes()


def test_clip_for_a_new_network_stays_in_its_layout(
    hub: Hub, download: Any, tmp_path: Path
) -> None:
    files = clip_model_files()
    hub.commit("org/clip", files)
    assert download("org/clip", "--to", tmp_path / "clip")[0] == 0
    assert {p.name: p.read_bytes() for p in (tmp_path / "clip").iterdir()} == files


def test_an_architecture_becomes_a_directory_of_open_clip(
    hub: Hub, download: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = CLIP(**TINY)
    hub.commit("clip/tiny", {"weights-of-tiny.safetensors": save(dict(clip.state_dict()))})
    monkeypatch.setitem(factory._MODEL_CONFIGS, "Tiny-32", TINY)
    tag = {
        "hf_hub": "clip/tiny/weights-of-tiny.safetensors",
        "quick_gelu": True,
        "mean": (0.5, 0.5, 0.5),
        "std": (0.25, 0.25, 0.25),
        "interpolation": "bilinear",
    }
    monkeypatch.setitem(pretrained._PRETRAINED, "Tiny-32", {"server": tag})
    expected = EmotionClassifier(
        LABELS, model="Tiny-32", pretrained="server", network=SMALL, random_state=0
    )
    expected._ready()
    words = ("Tiny-32", "--pretrained", "server")
    status, out, _ = download(*words)
    assert status == 0 and "--model Tiny-32 --pretrained server" in out
    assert download(*words, "--to", tmp_path / "clip")[0] == 0
    assert sorted(path.name for path in (tmp_path / "clip").iterdir()) == [
        "open_clip_config.json",
        "open_clip_model.safetensors",
    ]
    hub.repositories.clear()
    found = EmotionClassifier(LABELS, model=tmp_path / "clip", network=SMALL, random_state=0)
    same_scores(expected, found)
    assert found.backbone_ == expected.backbone_
    assert found._ready().checkpoint.preprocess == expected._ready().checkpoint.preprocess
    # open_clip itself loads it too.
    assert factory.create_model(f"local-dir:{tmp_path / 'clip'}") is not None


def test_what_cannot_be_had(hub: Hub, download: Any, tmp_path: Path) -> None:
    hub.commit("org/cats", {"cats.txt": b"miau"})
    hub.commit("org/bert", {"config.json": b'{"model_type": "bert"}'})
    hub.commit("org/private", {"config.json": b"{}"}, token="hf_secret")
    for model, message in (
        ("org/gone", "needs a token"),
        ("org/private", "needs a token"),
        ("org/cats", "'org/cats' on the Hub has no config.json"),
        ("org/bert", "'bert'"),
        ("no-such-model", "There is no model"),
        ("ViT-B-32", "pretrained"),
    ):
        status, out, err = download(model, "--to", tmp_path / "out")
        assert (status, out) == (1, "") and message in err
    assert not (tmp_path / "out").exists()


def test_a_broken_checkpoint_leaves_nothing_behind(
    hub: Hub, download: Any, small: EmotionClassifier, tmp_path: Path
) -> None:
    files = {**hub.files("org/small"), "model.safetensors": b"garbage"}
    hub.commit("org/small", files)
    status, out, err = download("org/small", "--to", tmp_path / "new" / "out")
    assert (status, out) == (1, "") and "model.safetensors cannot be read" in err
    assert list((tmp_path / "new").iterdir()) == []


def test_wrong_use(download: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for words, message in (
        ((), "MODEL"),
        (("org/tiny", "--to", tmp_path / "file"), "is a file"),
        (("org/tiny", "--pretrained", "openai"), "brings its own weights"),
        (("ViT-B-32", "--pretrained", "random"), "nothing that is downloaded"),
        (("org/tiny", "--epochs", "3"), "--epochs"),
    ):
        status, out, err = download(*words)
        assert (status, out) == (2, "") and message in err


def test_mini_needs_no_download(hub: Hub, download: Any, tmp_path: Path) -> None:
    status, out, _ = download("mini")
    assert status == 0 and "model.safetensors" in out
    assert hub.requests == []


def test_force_fetches_again(
    hub: Hub, download: Any, small: EmotionClassifier, tmp_path: Path
) -> None:
    download("org/small")
    before = len(hub.downloaded())
    download("org/small")
    assert len(hub.downloaded()) == before
    assert download("org/small", "--force")[0] == 0
    assert len(hub.downloaded()) == before + 4


def test_offline_the_cache_is_all_there_is(
    hub: Hub, download: Any, small: EmotionClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    download("org/small")
    hub.faults.append(Fault("", 99, 503))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert download("org/small")[0] == 0
    status, _, err = download("org/other")
    assert status == 1 and "merclip download MODEL --to DIR" in err


def test_help_loads_no_torch() -> None:
    code = (
        "import sys, merclip.cli\n"
        "assert merclip.cli.main(['download', '--help']) == 0\n"
        "assert not {'torch', 'numpy', 'huggingface_hub'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ
    )
    assert done.returncode == 0, done.stderr
    assert "--to DIR" in done.stdout
