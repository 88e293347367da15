"""One classifier from many threads gives the scores that it gives to one."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from conftest import make_clips
from merclip import Clip, EmotionClassifier, Video

N_THREADS = 8
LABELS = ["happy", "sad", "angry"]


@pytest.fixture(autouse=True)
def _frequent_switches() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


def at_once(work: Callable[[int], Any]) -> list[Any]:
    """Run work in eight threads that start together."""
    barrier = threading.Barrier(N_THREADS)

    def start(index: int) -> Any:
        barrier.wait()
        return work(index)

    with ThreadPoolExecutor(N_THREADS) as pool:
        return list(pool.map(start, range(N_THREADS)))


def test_every_way_to_predict(tiny: Callable[..., EmotionClassifier]) -> None:
    clips, _ = make_clips(4)
    clf = tiny(LABELS)
    clf.network_.fusion_trained = True
    expected = clf.predict_proba(clips)
    other = clf.with_labels(["calm", "tense"]).predict_proba(clips)

    def work(index: int) -> Any:
        if index % 4 == 0:
            return clf.predict_proba(clips)
        if index % 4 == 1:
            return np.array([[clf(clip)[name] for name in clf.classes_] for clip in clips])
        if index % 4 == 2:
            found = list(clf.predict_iter(iter(clips), batch_size=1))
            return np.array([[item[name] for name in clf.classes_] for item in found])
        return clf.with_labels(["calm", "tense"]).predict_proba(clips)

    for index, found in enumerate(at_once(work)):
        wanted = other if index % 4 == 3 else expected
        np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_a_model_that_is_loaded_at_first_use_is_loaded_once(
    tiny: Callable[..., EmotionClassifier],
) -> None:
    clf = tiny(LABELS)
    networks = at_once(lambda _: clf.network_)
    assert len({id(network) for network in networks}) == 1


def test_new_label_sets_at_once(tiny: Callable[..., EmotionClassifier]) -> None:
    clf = tiny(LABELS)
    sets = [[f"word {index}", f"other {index}", "calm"] for index in range(N_THREADS)]
    expected = [tiny(labels).predict_proba(text="so good") for labels in sets]

    def work(index: int) -> Any:
        return clf.with_labels(sets[index]).predict_proba(text="so good")

    np.testing.assert_allclose(at_once(work), expected, atol=1e-5)


def test_feature_cache_and_faces(tiny: Callable[..., EmotionClassifier], tmp_path: Any) -> None:
    pytest.importorskip("cv2")
    generator = np.random.default_rng(0)
    frames = generator.integers(0, 255, (3, 96, 96, 3)).astype(np.uint8)
    clips = [Clip(Video(frames // (1 + index), fps=5), text="hi") for index in range(3)]
    expected = tiny(LABELS, face="always").predict_proba(clips)
    clf = tiny(LABELS, face="always", feature_cache=tmp_path)
    for found in at_once(lambda _: clf.predict_proba(clips)):
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_asyncio(tiny: Callable[..., EmotionClassifier]) -> None:
    clf = tiny(LABELS)
    expected = clf.predict_proba(text="so good")

    async def run() -> list[Any]:
        calls = [asyncio.to_thread(clf.predict_proba, text="so good") for _ in range(N_THREADS)]
        return list(await asyncio.gather(*calls))

    for found in asyncio.run(run()):
        np.testing.assert_allclose(found, expected, atol=1e-5)
