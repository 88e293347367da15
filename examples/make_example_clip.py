"""Makes the two example clips of this folder: somebody happy and somebody angry, talking.

Nothing is recorded: the face is painted and the voice synthesised, both with numpy. Run

    python examples/make_example_clip.py

to write happy.mp4 and angry.mp4 next to this file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from example_clip import face, voice
from numpy.typing import NDArray

FOLDER = Path(__file__).parent
FRAME_RATE = 25
SECONDS = 4.0


@dataclass(frozen=True)
class Scene:
    """One clip: who speaks how, and what is said (see example_clip/voice.py)."""

    expression: face.Expression
    manner: voice.Manner
    words: str
    phrase: str
    liveliness: float  # how much the head moves
    blinks: tuple[float, ...]  # in seconds


SCENES = {
    "happy": Scene(
        face.HAPPY,
        voice.HAPPY,
        "Oh wow! I'm so happy to see you! It's wonderful!",
        "_ OW:4 W AW:11:1.5 _:0:1.4"
        " AY:3 M S OW:9:1.5 HH AE:12:1.4 P IY:5 T UW:3 S IY:10:1.3 Y UW:1:1.4 _:0:1.8"
        " IH:4 T S W AH:11:1.7 N D ER:5 F AX:2 L:0:1.6",
        liveliness=1.0,
        blinks=(1.1, 2.9),
    ),
    "angry": Scene(
        face.ANGRY,
        voice.ANGRY,
        "No! You never listen to me! Stop it! Now!",
        "_ N OW:9:1.9 _:-3:1.3"
        " Y UW:5 N EH:9:1.4 V ER:3 L IH:8:1.3 S AX:2 N T UW:1 M IY:7:1.6 _:-3:1.8"
        " S T AA:9:1.7 P IH:3:1.2 T _:3:0.8 N AW:10:1.4 _:-6",
        liveliness=0.8,
        blinks=(1.9,),
    ),
}


def blink_at(seconds: float, blinks: tuple[float, ...]) -> float:
    """How far the eyes are shut at a moment: a blink takes about a fifth of a second."""
    return max(float(np.clip(1.4 - abs(seconds - blink) / 0.09, 0.0, 1.0)) for blink in blinks)


def head_pose(seconds: float, loudness: float, scene: Scene) -> face.Pose:
    """Slow sways of the head, and a nod with every loud syllable."""
    sway = [np.sin(2.0 * np.pi * rate * seconds + rate * 9.0) for rate in (0.31, 0.47, 0.59, 0.83)]
    return face.Pose(
        shift_x=0.025 * scene.liveliness * sway[0],
        shift_y=0.015 * scene.liveliness * sway[1] + 0.015 * loudness,
        roll=0.035 * scene.liveliness * sway[2],
        yaw=0.045 * scene.liveliness * sway[0],
        pitch=0.020 * sway[3] + 0.020 * loudness,
    )


def draw_frames(scene: Scene, sound: NDArray[np.float32]) -> Iterator[NDArray[np.uint8]]:
    """Draws the frames of a clip whose mouth follows the sound."""
    painter = face.FacePainter(scene.expression)
    for index, loudness in enumerate(voice.loudness_per_frame(sound, FRAME_RATE)):
        seconds = index / FRAME_RATE
        pose = head_pose(seconds, float(loudness), scene)
        yield painter.frame(pose, float(loudness), blink_at(seconds, scene.blinks))


def write_clip(path: Path, scene: Scene) -> None:
    """Draws, speaks and encodes one clip."""
    sound = voice.speak(scene.phrase, scene.manner, SECONDS)
    # one thread and no time stamps, so that another run writes the same bytes if the encoders do
    with av.open(str(path), "w", options={"movflags": "+faststart", "fflags": "+bitexact"}) as clip:
        video = clip.add_stream("libx264", FRAME_RATE, options={"crf": "23"})
        video.width, video.height, video.pix_fmt = face.WIDTH, face.HEIGHT, "yuv420p"
        video.codec_context.thread_count = 1
        speech = clip.add_stream("aac", voice.SAMPLE_RATE, layout="mono")
        speech.bit_rate = 96_000
        for pixels in draw_frames(scene, sound):
            clip.mux(video.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        clip.mux(video.encode(None))
        samples = av.AudioFrame.from_ndarray(sound[None, :], format="fltp", layout="mono")
        samples.sample_rate = voice.SAMPLE_RATE
        samples.pts, samples.time_base = 0, Fraction(1, voice.SAMPLE_RATE)
        clip.mux(speech.encode(samples))
        clip.mux(speech.encode(None))


def main() -> None:
    """Write every clip into this folder."""
    for name, scene in SCENES.items():
        path = FOLDER / f"{name}.mp4"
        write_clip(path, scene)
        print(f"{path.name}: {path.stat().st_size / 1024:.0f} KB, {scene.words!r}")


if __name__ == "__main__":
    main()
