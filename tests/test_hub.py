"""Models from the Hub, served on 127.0.0.1: nothing here reaches any further."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from hub_server import Fault, Hub
from huggingface_hub import constants
from huggingface_hub.errors import (
    GatedRepoError,
    LocalEntryNotFoundError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from safetensors.torch import save
from torch import nn

from conftest import TINY
from merclip import EmotionClassifier
from merclip.errors import InputError, MerclipError, ModelNotFoundError

LABELS = ["happy", "sad", "angry"]
TEXTS = ["so good", "I hate it"]
HEADS = {"decoder": {"heads": 2}}


@pytest.fixture
def saved(tiny: Callable[..., EmotionClassifier], tmp_path: Path) -> Path:
    """Return a checkpoint that holds all its weights."""
    return tiny(LABELS).save_pretrained(tmp_path / "saved")


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def same_scores(first: EmotionClassifier, second: EmotionClassifier) -> None:
    expected = first.decision_function(text=TEXTS)
    np.testing.assert_allclose(second.decision_function(text=TEXTS), expected, atol=1e-5)


# merclip checkpoints -----------------------------------------------------------------


def test_a_checkpoint_comes_from_the_hub(
    hub: Hub, saved: Path, tiny: Callable[..., EmotionClassifier]
) -> None:
    hub.commit("org/tiny", saved)
    clf = EmotionClassifier.from_pretrained("org/tiny")
    assert clf.labels_.names == tuple(LABELS)
    same_scores(tiny(LABELS), clf)
    assert sorted(path.rpartition("/")[2] for path in hub.downloaded()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    lazy = EmotionClassifier(["joy", "rage"], model="org/tiny")
    assert lazy.predict(text="hi")[0] in ("joy", "rage")


def test_downloads_say_who_asks(hub: Hub, saved: Path) -> None:
    hub.commit("org/tiny", saved)
    EmotionClassifier.from_pretrained("org/tiny")
    agents = [headers["user-agent"] for _, path, headers in hub.requests if "/resolve/" in path]
    assert agents and all("merclip/" in agent for agent in agents)


def test_the_second_load_needs_no_network(
    hub: Hub, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.commit("org/tiny", saved)
    first = EmotionClassifier.from_pretrained("org/tiny")
    asked = len(hub.requests)
    second = EmotionClassifier.from_pretrained("org/tiny", local_files_only=True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    third = EmotionClassifier.from_pretrained("org/tiny")
    assert len(hub.requests) == asked
    same_scores(first, second)
    same_scores(first, third)


def test_a_load_with_the_hub_out_of_reach_takes_the_cache(
    hub: Hub, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.commit("org/tiny", saved)
    EmotionClassifier.from_pretrained("org/tiny")
    # huggingface_hub tries five times, with pauses, before it gives up.
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setattr(constants, "ENDPOINT", nowhere)
        template = nowhere + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        assert EmotionClassifier.from_pretrained("org/tiny").labels_.names == tuple(LABELS)
        with pytest.raises(ModelNotFoundError, match="cannot be reached"):
            EmotionClassifier.from_pretrained("org/other")


def test_a_cached_model_without_its_card_does_not_wait_for_the_hub(
    hub: Hub, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.commit("org/tiny", saved)
    EmotionClassifier.from_pretrained("org/tiny")
    for card in (tmp_path / "cache").rglob("README.md"):
        card.unlink()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setattr(constants, "ENDPOINT", nowhere)
        template = nowhere + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(
            "huggingface_hub.utils._http.time.sleep", lambda _: pytest.fail("it waits")
        )
        assert EmotionClassifier.from_pretrained("org/tiny").labels_.names == tuple(LABELS)


def test_a_cache_directory_of_ones_own(hub: Hub, saved: Path, tmp_path: Path) -> None:
    hub.commit("org/tiny", saved)
    EmotionClassifier.from_pretrained("org/tiny", cache_dir=tmp_path / "mine")
    assert (tmp_path / "mine" / "models--org--tiny").is_dir()
    assert not (tmp_path / "cache" / "models--org--tiny").exists()
    EmotionClassifier.from_pretrained(
        "org/tiny", cache_dir=tmp_path / "mine", local_files_only=True
    )


def test_force_download_asks_again(hub: Hub, saved: Path) -> None:
    hub.commit("org/tiny", saved)
    EmotionClassifier.from_pretrained("org/tiny")
    before = len(hub.downloaded())
    EmotionClassifier.from_pretrained("org/tiny")
    assert len(hub.downloaded()) == before
    EmotionClassifier.from_pretrained("org/tiny", force_download=True)
    assert len(hub.downloaded()) == 2 * before


def test_a_revision_is_a_branch_or_a_commit(
    hub: Hub, saved: Path, tiny: Callable[..., EmotionClassifier], tmp_path: Path
) -> None:
    old = hub.commit("org/tiny", saved)
    other = tiny(["joy", "rage"], random_state=1).save_pretrained(tmp_path / "other")
    hub.commit("org/tiny", other)
    hub.commit("org/tiny", saved, branch="v1")
    assert EmotionClassifier.from_pretrained("org/tiny").labels_.names == ("joy", "rage")
    for revision in (old, "v1"):
        clf = EmotionClassifier.from_pretrained("org/tiny", revision=revision)
        assert clf.labels_.names == tuple(LABELS)
        assert clf.revision == revision
        lazy = EmotionClassifier(model="org/tiny", revision=revision)
        assert lazy.classes_.tolist() == sorted(LABELS)


# What cannot be had -------------------------------------------------------------------


def fails(cause: type[Exception], message: str, name: str, **options: Any) -> None:
    """Assert that a load fails with merclip's error, made from the Hub's own."""
    with pytest.raises(ModelNotFoundError, match=message) as caught:
        EmotionClassifier.from_pretrained(name, **options)
    assert isinstance(caught.value, FileNotFoundError)
    assert isinstance(caught.value, MerclipError)
    assert isinstance(caught.value.__cause__, cause)


def test_a_repository_that_does_not_exist(hub: Hub) -> None:
    message = "The Hub has no model 'org/gone', or it is private and needs a token: check the name"
    fails(RepositoryNotFoundError, message, "org/gone")


def test_a_revision_that_does_not_exist(hub: Hub, saved: Path) -> None:
    hub.commit("org/tiny", saved)
    fails(
        RevisionNotFoundError,
        "'org/tiny' on the Hub has no revision 'v9': check the branch",
        "org/tiny",
        revision="v9",
    )


def test_a_repository_of_something_else(hub: Hub) -> None:
    hub.commit("org/cats", {"cats.txt": b"miau"})
    message = (
        r"'org/cats' on the Hub has no config\.json\. It is neither a checkpoint of merclip nor "
        r"CLIP .* there is 'cats\.txt'"
    )
    fails(RemoteEntryNotFoundError, message, "org/cats")


def test_offline_with_a_cold_cache(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hint = "not in the cache.*connect to the network once, or copy the model's directory"
    fails(LocalEntryNotFoundError, hint, "org/tiny", local_files_only=True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    fails(LocalEntryNotFoundError, hint, "org/tiny")
    assert hub.requests == []


def test_a_private_repository_needs_its_token(hub: Hub, saved: Path) -> None:
    hub.commit("org/tiny", saved, token="hf_secret")
    fails(RepositoryNotFoundError, "it is private and needs a token", "org/tiny")
    fails(RepositoryNotFoundError, "needs a token", "org/tiny", token="hf_wrong")
    clf = EmotionClassifier.from_pretrained("org/tiny", token="hf_secret")
    assert clf.labels_.names == tuple(LABELS)


def test_a_gated_repository_says_so(hub: Hub, saved: Path) -> None:
    hub.commit("org/tiny", saved, token="hf_secret", gated=True)
    fails(GatedRepoError, "'org/tiny' on the Hub is gated: ask for access", "org/tiny")


@pytest.mark.parametrize("name", ["org/na me", "-org/name", "hf-hub:org/name", "a/b/c", "../x"])
def test_names_that_no_model_can_have(hub: Hub, name: str) -> None:
    with pytest.raises(ModelNotFoundError):
        EmotionClassifier.from_pretrained(name)
    assert hub.requests == []


@pytest.mark.parametrize("name", ["./gone", "../gone", "~/gone", "a/b/c", "a\\b", "/no/such"])
def test_a_path_to_no_directory_is_not_sought_on_the_hub(hub: Hub, name: str) -> None:
    with pytest.raises(ModelNotFoundError, match="There is no directory") as caught:
        EmotionClassifier.from_pretrained(name)
    assert repr(name) in str(caught.value)
    assert hub.requests == []


def test_environment_variables_are_honoured(hub: Hub, saved: Path, tmp_path: Path) -> None:
    hub.commit("org/tiny", saved, token="hf_secret")
    code = """
        from merclip import EmotionClassifier
        from merclip.errors import ModelNotFoundError
        for name in ("org/tiny", "org/other"):
            try:
                print(EmotionClassifier.from_pretrained(name).classes_.tolist())
            except ModelNotFoundError as error:
                print("ModelNotFoundError", error)
    """
    kept = {key: os.environ[key] for key in ("PATH", "SYSTEMROOT") if key in os.environ}
    environment = {
        **kept,
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "home"),
        "HF_TOKEN": "hf_secret",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "OMP_NUM_THREADS": "1",
    }
    outputs = []
    for extra in ({}, {"HF_HUB_OFFLINE": "1"}):
        done = subprocess.run(
            [sys.executable, "-c", "\n".join(line[8:] for line in code.splitlines())],
            env={**environment, **extra},
            cwd=Path(__file__).parents[1],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout.splitlines())
    assert outputs[0][0] == outputs[1][0] == str(sorted(LABELS))
    assert "needs a token" in outputs[0][1]
    assert "not in the cache" in outputs[1][1]
    assert (tmp_path / "home" / "hub" / "models--org--tiny").is_dir()


# CLIP weights of open_clip -------------------------------------------------------------


class OpenClip:
    """A tiny architecture of open_clip whose weights lie on the Hub."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.clip = open_clip.model.CustomTextCLIP(**TINY)
        nn.init.normal_(self.clip.visual.conv1.weight)
        self.weights = save(dict(self.clip.state_dict()))
        self.commit = hub.commit("clip/tiny", {"open_clip_model.safetensors": self.weights})

    def update(self) -> None:
        """Push other weights to the main branch."""
        other = save({name: tensor + 0.1 for name, tensor in self.clip.state_dict().items()})
        self.hub.commit("clip/tiny", {"open_clip_model.safetensors": other})


@pytest.fixture
def clip(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> OpenClip:
    """Register the architecture "Tiny-32" with open_clip, with the tag "server"."""
    from open_clip import factory, pretrained

    monkeypatch.setitem(factory._MODEL_CONFIGS, "Tiny-32", TINY)
    tag = {
        "hf_hub": "clip/tiny/",
        "quick_gelu": True,
        "mean": (0.5, 0.5, 0.5),
        "std": (0.25, 0.25, 0.25),
        "interpolation": "bilinear",
    }
    monkeypatch.setitem(pretrained._PRETRAINED, "Tiny-32", {"server": tag})
    return OpenClip(hub)


def from_clip(labels: Any = LABELS, **params: Any) -> EmotionClassifier:
    return EmotionClassifier(
        labels, model="Tiny-32", pretrained="server", network=HEADS, random_state=0, **params
    )


def test_clip_weights_come_from_the_hub_with_their_preprocessing(clip: OpenClip) -> None:
    clf = from_clip()
    network = clf.network_
    expected = clip.clip.state_dict()
    for name, tensor in network.encoders["V"].tower.state_dict().items():
        assert tensor.equal(expected[f"visual.{name}"])
    for name, tensor in network.label_encoder.tower.state_dict().items():
        assert tensor.equal(expected[f"text.{name}"])
    assert clf.backbone_["quick_gelu"] is True
    vision = clf._ready().checkpoint.preprocess.vision
    assert (vision.mean, vision.interpolation) == ((0.5, 0.5, 0.5), "bilinear")


def test_a_saved_model_names_its_backbone_by_commit_and_leaves_it_out(
    clip: OpenClip, tmp_path: Path
) -> None:
    folder = from_clip().save_pretrained(tmp_path / "small")
    config = json.loads((folder / "config.json").read_text())
    assert config["backbone"] == {
        "repo": "clip/tiny",
        "revision": clip.commit,
        "filename": "open_clip_model.safetensors",
    }
    assert config["network"]["backbone"]["quick_gelu"] is True
    bundled = from_clip().save_pretrained(tmp_path / "whole", bundle_backbone=True)
    assert json.loads((bundled / "config.json").read_text())["backbone"] is None
    small, whole = ((d / "model.safetensors").stat().st_size for d in (folder, bundled))
    assert small < whole - len(clip.weights) / 2


@pytest.mark.parametrize("bundle", [False, True])
@pytest.mark.parametrize("tune", ["head", "full"])
def test_a_reloaded_model_gives_the_same_logits_also_after_the_backbone_moved_on(
    clip: OpenClip, tmp_path: Path, bundle: bool, tune: str
) -> None:
    clf = from_clip(tune=tune, epochs=1, validation=0.0)
    clf.fit([{"text": text} for text in TEXTS * 2], ["happy", "angry"] * 2)
    clf.save_pretrained(tmp_path / "model", bundle_backbone=bundle)
    clip.update()
    again = EmotionClassifier.from_pretrained(tmp_path / "model")
    same_scores(clf, again)
    second = again.save_pretrained(tmp_path / "again")
    assert json.loads((second / "config.json").read_text())["backbone"] == (
        None if bundle else again._ready().checkpoint.backbone
    )
    same_scores(clf, EmotionClassifier.from_pretrained(second))


def test_a_bundled_model_needs_no_hub(clip: OpenClip, tmp_path: Path) -> None:
    clf = from_clip()
    clf.save_pretrained(tmp_path / "whole", bundle_backbone=True)
    asked = len(clip.hub.requests)
    again = EmotionClassifier.from_pretrained(
        tmp_path / "whole", local_files_only=True, cache_dir=tmp_path / "empty"
    )
    assert len(clip.hub.requests) == asked
    same_scores(clf, again)


def test_a_small_model_whose_backbone_is_not_cached_says_which_file_it_lacks(
    clip: OpenClip, tmp_path: Path
) -> None:
    from_clip().save_pretrained(tmp_path / "small")
    with pytest.raises(ModelNotFoundError, match="open_clip_model.safetensors of 'clip/tiny'"):
        EmotionClassifier.from_pretrained(
            tmp_path / "small", local_files_only=True, cache_dir=tmp_path / "empty"
        )


def test_model_and_backbone_both_come_from_the_hub_with_one_token(
    clip: OpenClip, tmp_path: Path
) -> None:
    hub = clip.hub
    folder = from_clip().save_pretrained(tmp_path / "small")
    hub.commit("org/tiny", folder, token="hf_secret")
    hub.repositories["clip/tiny"].token = "hf_secret"
    options = {"cache_dir": tmp_path / "fresh", "token": "hf_secret"}
    clf = EmotionClassifier.from_pretrained("org/tiny", **options)
    assert any(f"clip/tiny/resolve/{clip.commit}/" in path for path in hub.downloaded())
    assert clf.labels_.names == tuple(LABELS)


def test_weights_that_are_no_safetensors_are_found_too(clip: OpenClip, tmp_path: Path) -> None:
    torch.save(clip.clip.state_dict(), tmp_path / "weights.bin")
    data = (tmp_path / "weights.bin").read_bytes()
    clip.hub.commit("clip/tiny", {"open_clip_pytorch_model.bin": data})
    folder = from_clip().save_pretrained(tmp_path / "small")
    config = json.loads((folder / "config.json").read_text())
    assert config["backbone"]["filename"] == "open_clip_pytorch_model.bin"


def test_a_tag_without_weights_on_the_hub_lists_those_there_are(clip: OpenClip) -> None:
    with pytest.raises(ModelNotFoundError, match=r"\['server'\]"):
        from_clip().set_params(pretrained="laion").predict(text="hi")
    clip.hub.repositories.clear()
    with pytest.raises(ModelNotFoundError, match="'clip/tiny'"):
        from_clip().predict(text="hi")


def test_pretrained_beside_a_model_on_the_hub_is_refused(hub: Hub, saved: Path) -> None:
    hub.commit("org/tiny", saved)
    with pytest.raises(InputError, match="brings its own weights"):
        EmotionClassifier(LABELS, model="org/tiny", pretrained="openai").predict(text="hi")
    assert hub.requests == []


# A network that is not at its best ------------------------------------------------------


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let huggingface_hub try again at once."""
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)


def test_a_file_cut_off_in_the_middle_is_resumed(
    hub: Hub,
    saved: Path,
    tiny: Callable[..., EmotionClassifier],
    no_pauses: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # What has come of a chunk that is not complete is thrown away.
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 2**20)
    hub.commit("org/tiny", saved)
    size = (saved / "model.safetensors").stat().st_size
    hub.faults.append(Fault("model.safetensors", 1, cut_after=size // 2, methods=("GET",)))
    same_scores(tiny(LABELS), EmotionClassifier.from_pretrained("org/tiny"))
    ranges = [headers["range"] for _, _, headers in hub.requests if "range" in headers]
    assert len(ranges) == 1 and 0 < int(ranges[0][6:-1]) <= size // 2


def test_a_file_that_always_breaks_off_is_an_error_of_ours(
    hub: Hub, saved: Path, no_pauses: None, tmp_path: Path
) -> None:
    hub.commit("org/tiny", saved)
    hub.faults.append(Fault("model.safetensors", 99, cut_after=0, methods=("GET",)))
    with pytest.raises(ModelNotFoundError, match="model.safetensors.*try again"):
        EmotionClassifier.from_pretrained("org/tiny")
    assert not list((tmp_path / "cache").rglob("*.incomplete"))
    hub.faults.clear()
    assert EmotionClassifier.from_pretrained("org/tiny").labels_.names == tuple(LABELS)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_fault_that_passes_is_waited_out(
    hub: Hub, saved: Path, no_pauses: None, status: int
) -> None:
    hub.commit("org/tiny", saved)
    hub.faults.append(Fault("config.json", 3, status, methods=("HEAD",)))
    assert EmotionClassifier.from_pretrained("org/tiny").labels_.names == tuple(LABELS)


def test_a_fault_that_stays_is_an_error_of_ours_and_the_cache_helps(
    hub: Hub, saved: Path, no_pauses: None
) -> None:
    hub.commit("org/tiny", saved)
    stays = Fault("", 999, 503)
    hub.faults.append(stays)
    with pytest.raises(ModelNotFoundError, match="cannot be reached.*503"):
        EmotionClassifier.from_pretrained("org/tiny")
    stays.times = 0
    EmotionClassifier.from_pretrained("org/tiny")
    stays.times = 999
    assert EmotionClassifier.from_pretrained("org/tiny").labels_.names == tuple(LABELS)


def test_what_has_not_changed_is_not_downloaded_again(hub: Hub, saved: Path) -> None:
    hub.commit("org/tiny", saved)
    EmotionClassifier.from_pretrained("org/tiny")
    before = len(hub.downloaded())
    files = {**files_of(saved), "README.md": b"---\nlicense: mit\n---\n"}
    hub.commit("org/tiny", files)
    clf = EmotionClassifier.from_pretrained("org/tiny")
    assert [path.rpartition("/")[2] for path in hub.downloaded()[before:]] == ["README.md"]
    assert clf._ready().checkpoint.lineage["license"] == "mit"


def test_a_token_is_not_shown_to_the_store_of_large_files(hub: Hub, saved: Path) -> None:
    hub.commit("org/tiny", saved, token="hf_secret")
    EmotionClassifier.from_pretrained("org/tiny", token="hf_secret")
    stored = [headers for _, path, headers in hub.requests if path.startswith("/large/")]
    assert stored and not any("authorization" in headers for headers in stored)


def test_force_download_says_why_it_cannot(
    hub: Hub, saved: Path, no_pauses: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.commit("org/tiny", saved)
    EmotionClassifier.from_pretrained("org/tiny")
    with pytest.raises(InputError, match="exclude each other"):
        EmotionClassifier.from_pretrained("org/tiny", local_files_only=True, force_download=True)
    with pytest.raises(ModelNotFoundError, match="needs a token"):
        EmotionClassifier.from_pretrained("org/gone", force_download=True)
    hub.faults.append(Fault("", 999, 503))
    with pytest.raises(ModelNotFoundError, match="503"):
        EmotionClassifier.from_pretrained("org/tiny", force_download=True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelNotFoundError, match="HF_HUB_OFFLINE"):
        EmotionClassifier.from_pretrained("org/tiny", force_download=True)


def test_token_true_without_a_token_says_so(hub: Hub, saved: Path) -> None:
    hub.commit("org/tiny", saved)
    with pytest.raises(ModelNotFoundError, match="keeps no token.*hf auth login"):
        EmotionClassifier.from_pretrained("org/tiny", token=True)


def test_a_checkpoint_without_its_weights_says_so(hub: Hub, saved: Path) -> None:
    files = files_of(saved)
    del files["model.safetensors"]
    hub.commit("org/tiny", {**files, "pytorch_model.bin": b"pickle"})
    with pytest.raises(ModelNotFoundError, match=r"no model\.safetensors.*pytorch_model\.bin"):
        EmotionClassifier.from_pretrained("org/tiny")


@pytest.mark.parametrize(
    "card",
    [b"", b"---\n: [\n---\n", b"---\n- a\n---\n", b"\xff\xfe", b"---\nlicense: 3\n---\n", None],
)
def test_a_card_that_says_nothing_does_not_stand_in_the_way(
    hub: Hub, saved: Path, card: bytes | None
) -> None:
    files = files_of(saved)
    del files["README.md"]
    hub.commit("org/tiny", files if card is None else {**files, "README.md": card})
    lineage = EmotionClassifier.from_pretrained("org/tiny")._ready().checkpoint.lineage
    assert lineage == {"license": "unknown", "base_model": "org/tiny"}
