"""Draws a shaded face with numpy: one call gives one frame of somebody talking.

The face lives in its own coordinates: the origin between eyes and mouth, x to the right, y down,
and one unit for half of the face's height. Skin is a height map lit from the upper left; eyes,
brows, mouth and hair are painted over it with soft, anti-aliased edges.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

WIDTH, HEIGHT = 480, 360
PIXELS_PER_UNIT = 166.0
FACE_CENTRE = (240.0, 178.0)
LIGHT = np.array([-0.30, -0.46, 0.84], np.float32)

SKIN = (0.92, 0.70, 0.57)
LIP = (0.62, 0.30, 0.28)
TEETH = (0.97, 0.95, 0.90)
MOUTH_DARK = (0.16, 0.05, 0.05)
HAIR = (0.17, 0.11, 0.08)
EYE_WHITE = (0.90, 0.89, 0.87)
IRIS = (0.30, 0.20, 0.12)
LASH = (0.10, 0.06, 0.05)
CREASE = (0.38, 0.20, 0.15)
SHIRT = (0.20, 0.27, 0.36)


@dataclass(frozen=True)
class Expression:
    """How the muscles of the face are set; all lengths are in face units."""

    smile: float  # 0 to 1: raised cheeks and folds from the nose to the mouth corners
    frown: float  # 0 to 1: creases between the brows and a wrinkled nose
    brow_inner: tuple[float, float]  # x, y of the inner end of the (right) brow
    brow_outer_y: float
    brow_arch: float
    upper_lid: float  # opening above and below the middle line of the eye
    lower_lid: float
    lid_slant: float  # how far the upper lid drops towards the nose
    mouth_width: float  # half of the mouth's width
    corner_lift: float  # how far the mouth's corners are above its middle
    mouth_squareness: float  # 2 is a round opening, more is squarer
    lip_thickness: float
    rest_opening: float  # opening of the mouth between the words
    talk_opening: float  # what full loudness adds to it
    lower_teeth: float  # 0 to 1: how much of the lower teeth shows


HAPPY = Expression(
    smile=1.0,
    frown=0.0,
    brow_inner=(0.13, -0.32),
    brow_outer_y=-0.30,
    brow_arch=0.085,
    upper_lid=0.062,
    lower_lid=0.020,
    lid_slant=0.0,
    mouth_width=0.36,
    corner_lift=0.15,
    mouth_squareness=2.0,
    lip_thickness=0.050,
    rest_opening=0.115,
    talk_opening=0.10,
    lower_teeth=0.0,
)

ANGRY = Expression(
    smile=0.0,
    frown=1.0,
    brow_inner=(0.065, -0.130),
    brow_outer_y=-0.295,
    brow_arch=0.012,
    upper_lid=0.056,
    lower_lid=0.030,
    lid_slant=0.050,
    mouth_width=0.285,
    corner_lift=-0.085,
    mouth_squareness=4.0,
    lip_thickness=0.040,
    rest_opening=0.17,
    talk_opening=0.13,
    lower_teeth=1.0,
)


@dataclass(frozen=True)
class Pose:
    """Where the head is and how it is turned, all small numbers around zero."""

    shift_x: float = 0.0
    shift_y: float = 0.0
    roll: float = 0.0  # radians
    yaw: float = 0.0  # how far the front of the face moves sideways
    pitch: float = 0.0  # how far the front of the face moves down


def bump(x: Array, y: Array, centre: tuple[float, float], size: tuple[float, float]) -> Array:
    """Return a smooth hill of height one."""
    return np.exp(-(((x - centre[0]) / size[0]) ** 2) - ((y - centre[1]) / size[1]) ** 2)


def ramp(value: Array, start: float, stop: float) -> Array:
    """Goes smoothly from 0 at start to 1 at stop."""
    position = np.clip((value - start) / (stop - start), 0.0, 1.0)
    return position * position * (3.0 - 2.0 * position)


def inside(distance: Array, softness: float = 1.0) -> Array:
    """Coverage of pixels by a shape: distance is positive inside, softness is in pixels."""
    return np.clip(distance * PIXELS_PER_UNIT / softness + 0.5, 0.0, 1.0)


def paint(image: Array, colour: tuple[float, float, float] | Array, coverage: Array) -> None:
    """Lays a colour over the image where coverage says so."""
    image += (np.asarray(colour, np.float32) - image) * coverage[..., None]


def blur(image: Array, radius: float) -> Array:
    """Gaussian blur of the first two axes."""
    reach = int(np.ceil(2.5 * radius))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / radius) ** 2)
    weights = (weights / weights.sum()).astype(np.float32)
    for axis in (0, 1):
        padding = [(0, 0)] * image.ndim
        padding[axis] = (reach, reach)
        padded = np.pad(image, padding, mode="edge")
        length = image.shape[axis]
        image = sum(
            weight * np.take(padded, range(start, start + length), axis=axis)
            for start, weight in enumerate(weights)
        )
    return image


class FacePainter:
    """Paints frames of one person; the textures are drawn once from a fixed seed."""

    def __init__(self, expression: Expression, seed: int = 7) -> None:
        """Prepare the background, the skin's and the hair's texture and the grain."""
        self.expression = expression
        self.random = np.random.default_rng(seed)
        rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
        self.frame_x = (columns - FACE_CENTRE[0]) / PIXELS_PER_UNIT
        self.frame_y = (rows - FACE_CENTRE[1]) / PIXELS_PER_UNIT
        noise = self.random.standard_normal((HEIGHT, WIDTH)).astype(np.float32)
        self.skin_texture = 0.35 * blur(noise, 1.2) + 3.0 * blur(noise, 14.0)
        self.background = self._draw_background(noise)

    def frame(self, pose: Pose, loudness: float, blink: float) -> NDArray[np.uint8]:
        """Draws one frame: loudness (0 to 1) opens the mouth, blink (0 to 1) shuts the eyes."""
        x, y = self._face_coordinates(pose)
        image = self.background.copy()
        self._paint_neck_and_ears(image, x, y)
        self._paint_skin(image, x, y, loudness)
        for side in (-1.0, 1.0):
            self._paint_eye(image, side * x, y, side, blink)
            self._paint_brow(image, side * x, y)
        self._paint_mouth(image, x, y, loudness)
        self._paint_hair(image, x, y)
        return self._photograph(image)

    def _draw_background(self, noise: Array) -> Array:
        """Return an out-of-focus room: a lit wall, with a darker shape at one side."""
        x, y = self.frame_x, self.frame_y
        light = 0.50 + 0.10 * bump(x, y, (-0.9, -0.6), (1.2, 1.2)) - 0.10 * ramp(x, 0.5, 1.3)
        light -= 0.14 * ramp(x, 0.88, 1.0) - 0.05 * ramp(y, 0.2, 0.9)
        light += 1.2 * blur(noise, 18.0)
        return light[..., None] * np.array([0.98, 1.0, 1.02], np.float32)

    def _face_coordinates(self, pose: Pose) -> tuple[Array, Array]:
        """Each pixel's place on the face; nearer parts move further when the head turns."""
        x, y = self.frame_x - pose.shift_x, self.frame_y - pose.shift_y
        cosine, sine = np.cos(pose.roll), np.sin(pose.roll)
        x, y = cosine * x + sine * y, cosine * y - sine * x
        nearness = np.clip(1.0 - (x / 0.8) ** 2 - (y / 1.1) ** 2, 0.0, 1.0)
        x, y = x - pose.yaw * nearness, y - pose.pitch * nearness
        return x.astype(np.float32), y.astype(np.float32)

    def _paint_neck_and_ears(self, image: Array, x: Array, y: Array) -> None:
        """Return what the face lies in front of: shirt, neck, ears."""
        shoulders = self.frame_y - 0.92 - 0.30 * np.abs(self.frame_x) ** 2
        paint(image, SHIRT, inside(shoulders, 3.0))
        neck_shade = 0.60 - 0.34 * bump(x, y, (0.1, 0.86), (0.5, 0.17)) - 0.18 * x
        neck = neck_shade[..., None] * np.array(SKIN, np.float32)
        paint(image, neck, inside(0.40 - np.abs(x), 3.0) * ramp(y, 0.3, 0.5))
        for side in (-1.0, 1.0):
            from_ear = np.hypot((side * x - 0.73) / 0.085, (y - 0.02) / 0.20)
            tone = (0.72 - 0.14 * side - 0.25 * bump(side * x, y, (0.74, 0.0), (0.03, 0.1)))[
                ..., None
            ]
            paint(image, tone * np.array(SKIN, np.float32), inside(0.08 * (1.0 - from_ear), 2.0))

    def _jaw_drop(self, loudness: float) -> float:
        """How far the chin goes down while talking."""
        return 0.35 * self.expression.talk_opening * loudness

    def _face_half_width(self, y: Array, drop: float) -> Array:
        """Return the outline of the face: a round skull above, a narrower jaw and chin below."""
        skull = np.sqrt(np.clip(1.0 - (np.minimum(y + 0.1, 0.0) / 0.98) ** 2, 0.0, 1.0))
        below = np.clip((y + 0.1) / (1.07 + drop), 0.0, 1.0)
        jaw = np.clip(1.0 - below**2.7, 0.0, 1.0) ** 0.62
        return 0.725 * np.where(y < -0.1, skull, jaw)

    def _mouth_edges(self, x: Array, loudness: float) -> tuple[Array, Array, Array, Array]:
        """Return the y of the mouth's outer and inner edges, from the top down, at every x."""
        face = self.expression
        opening = face.rest_opening + face.talk_opening * loudness
        across = np.clip(np.abs(x) / face.mouth_width, 0.0, 1.0)
        middle = 0.535 - face.corner_lift * across**2
        shape = 1.0 - across**face.mouth_squareness
        thin = face.lip_thickness * (1.0 - across**3)
        cupid = 0.012 * bump(x, x, (0.0, 0.0), (0.04, 1e3)) * (1.0 - face.frown)
        top, bottom = middle - 0.38 * opening * shape, middle + 0.62 * opening * shape
        return top - thin + cupid, top, bottom, bottom + 1.35 * thin

    def _relief(self, x: Array, y: Array, drop: float) -> Array:
        """Return the height map of the face's front."""
        face, side = self.expression, np.abs(x)
        dome = 0.62 * np.sqrt(np.clip(1.0 - (x / 0.84) ** 2 - (y / 1.22) ** 2, 0.03, 1.0))
        bridge = ramp(y, -0.32, 0.20) * (1.0 - ramp(y, 0.21, 0.31))
        nose = 0.19 * bridge * np.exp(-((x / (0.075 + 0.035 * bridge)) ** 2))
        nose += 0.055 * bump(x, y, (0.0, 0.205), (0.085, 0.07))
        nose += 0.060 * bump(side, y, (0.125, 0.235), (0.055, 0.055))
        cheek_height = 0.21 - 0.05 * face.smile
        hills = (0.03 + 0.045 * face.smile) * bump(side, y, (0.40, cheek_height), (0.17, 0.14))
        hills += 0.035 * bump(side, y, (0.28, -0.29 + 0.08 * face.frown), (0.24, 0.075))
        hills += 0.05 * bump(x, y, (0.0, 0.52), (0.30, 0.20))
        hills += 0.05 * bump(x, y, (0.0, 0.86 + drop), (0.15, 0.09))
        hills += 0.03 * face.frown * bump(x, y, (0.0, -0.20), (0.05, 0.07))
        hollows = (0.07 + 0.03 * face.frown) * bump(side, y, (0.27, -0.10), (0.15, 0.09))
        hollows += 0.03 * bump(x, y, (0.0, 0.74 + drop), (0.22, 0.045))
        hollows += 0.03 * bump(side, y, (0.58, 0.42), (0.10, 0.2))
        return dome + nose + hills - hollows

    def _creases(self, x: Array, y: Array) -> Array:
        """Darkness of the folds in the skin: beside the mouth, between the brows, at the eyes."""
        face, side = self.expression, np.abs(x)
        reach = face.mouth_width + 0.07
        along = np.clip((y - 0.20) / 0.38, 0.0, 1.0)
        from_fold = side - 0.16 - (reach - 0.16) * np.sin(0.5 * np.pi * along)
        # a fold is sharp on the mouth's side and fades out over the cheek
        fold = np.exp(-((from_fold / np.where(from_fold < 0, 0.045, 0.016)) ** 2))
        fold *= ramp(y, 0.19, 0.30) * (1.0 - ramp(y, 0.40, 0.64))
        dark = (0.15 + 0.35 * face.smile + 0.50 * face.frown) * fold
        between = np.exp(-(((side - 0.040 - 0.06 * (y + 0.2)) / 0.014) ** 2))
        dark += 0.75 * face.frown * between * ramp(y, -0.42, -0.30) * (1 - ramp(y, -0.2, -0.1))
        for height in (-0.03, 0.035):
            wrinkle = np.exp(-(((y - height + 0.9 * side**2) / 0.013) ** 2))
            dark += 0.35 * face.frown * wrinkle * (1.0 - ramp(side, 0.05, 0.11))
        pouch = np.exp(-(((y - 0.045 + 1.8 * (side - 0.29) ** 2) / 0.018) ** 2))
        dark += (0.22 + 0.22 * face.smile) * pouch * (1.0 - ramp(np.abs(side - 0.29), 0.09, 0.17))
        for slope in (-0.35, 0.05, 0.45):
            ray = np.exp(-(((y + 0.09 - slope * (side - 0.42)) / 0.010) ** 2))
            dark += 0.30 * face.smile * ray * ramp(side, 0.46, 0.50) * (1 - ramp(side, 0.52, 0.60))
        return np.clip(dark, 0.0, 0.85)

    def _paint_skin(self, image: Array, x: Array, y: Array, loudness: float) -> None:
        """Return the lit skin, with its folds and nostrils."""
        drop = self._jaw_drop(loudness)
        slope_y, slope_x = np.gradient(self._relief(x, y, drop) * PIXELS_PER_UNIT)
        length = np.sqrt(slope_x**2 + slope_y**2 + 1.0)
        facing = (LIGHT[2] - LIGHT[0] * slope_x - LIGHT[1] * slope_y) / length
        light = 0.30 + 0.72 * np.clip(facing, 0.0, 1.0) + 0.20 * np.clip(facing, 0.0, 1.0) ** 14
        light += 0.06 * self.skin_texture
        skin = light[..., None] * np.array(SKIN, np.float32)
        flush = 0.35 * bump(np.abs(x), y, (0.42, 0.20), (0.18, 0.15))
        skin *= 1.0 - flush[..., None] * np.array([0.0, 0.14, 0.16], np.float32)
        face = inside(self._face_half_width(y, drop) - np.abs(x), 2.5)
        paint(image, skin, face)
        paint(image, CREASE, 0.75 * self._creases(x, y) * face)
        flare = 0.02 * self.expression.frown + 0.012 * self.expression.smile
        nostril = bump(np.abs(x), y, (0.068 + flare, 0.277), (0.036, 0.018))
        wing = bump(np.abs(x), y, (0.178 + flare, 0.24), (0.016, 0.05))
        under = bump(x, y, (0.0, 0.305), (0.13, 0.022))
        paint(image, CREASE, np.clip(0.45 * wing + 0.22 * under, 0.0, 1.0))
        paint(image, LASH, np.clip(1.1 * nostril, 0.0, 0.9))

    def _paint_eye(self, image: Array, x: Array, y: Array, side: float, blink: float) -> None:
        """One eye; x grows towards the ear."""
        face = self.expression
        along = np.clip((x - 0.295) / 0.150, -1.0, 1.0)
        round_shape = 1.0 - np.abs(along) ** 2.2
        slant = face.lid_slant * (0.5 - 0.5 * along)
        open_above = face.upper_lid * (1.0 - blink) - face.lower_lid * blink
        lower = -0.100 - 0.006 * along + face.lower_lid * round_shape
        upper = -0.100 - 0.006 * along - (open_above - slant * (1.0 - blink)) * round_shape
        upper = np.minimum(upper, lower)
        within = np.abs(x - 0.295) < 0.150
        gap = np.minimum(y - upper, lower - y)
        eye = inside(np.where(within, gap, -1.0), 1.4)
        from_iris = np.hypot(x - 0.290, y + 0.105)
        shadow = 0.62 + 0.38 * ramp(y - upper, 0.0, 0.05)
        white = (shadow * (1.0 - 0.25 * np.abs(along)))[..., None] * np.array(EYE_WHITE)
        paint(image, white.astype(np.float32), eye)
        paint(image, IRIS, eye * inside(0.066 - from_iris, 2.0))
        paint(image, LASH, eye * inside(0.031 - from_iris, 2.0))
        glint = np.hypot(x - 0.290 + 0.022 * side, y + 0.125)
        paint(image, (1.0, 1.0, 1.0), 0.9 * eye * inside(0.013 - glint, 1.5))
        lash = np.exp(-(((y - upper) / (0.013 + 0.004 * along)) ** 2)) * ramp(round_shape, 0.0, 0.2)
        rim = np.exp(-(((y - lower) / 0.008) ** 2)) * ramp(round_shape, 0.0, 0.3)
        lid = np.exp(-(((y - upper + 0.042 - 0.02 * face.frown) / 0.010) ** 2)) * round_shape
        paint(image, CREASE, 0.55 * np.clip(lid, 0.0, 1.0) * within + 0.5 * rim * within)
        paint(image, LASH, 0.92 * lash * within)

    def _paint_brow(self, image: Array, x: Array, y: Array) -> None:
        """One brow; x grows towards the ear. A lowered brow also shades the eye below it."""
        face = self.expression
        inner_x, inner_y = face.brow_inner
        along = np.clip((x - inner_x) / (0.50 - inner_x), 0.0, 1.0)
        centre = inner_y + (face.brow_outer_y - inner_y) * along
        centre = centre - face.brow_arch * np.sin(np.pi * along**1.3)
        thickness = 0.040 * (1.0 - 0.75 * along**2) + 0.012 * face.frown
        ends = ramp(x, inner_x - 0.02, inner_x + 0.03) * (1.0 - ramp(x, 0.46, 0.52))
        hairs = 0.94 + 0.06 * np.sin(90.0 * x + 60.0 * y)
        shade = np.exp(-(((y - centre - 0.05) / 0.05) ** 2)) * ends
        paint(image, CREASE, (0.12 + 0.50 * face.frown) * shade)
        paint(image, HAIR, 0.9 * hairs * ends * inside(thickness - np.abs(y - centre), 5.0))

    def _paint_mouth(self, image: Array, x: Array, y: Array, loudness: float) -> None:
        """Lips, the dark of the mouth and the teeth in it."""
        face = self.expression
        outer_top, top, bottom, outer_bottom = self._mouth_edges(x, loudness)
        within = np.clip((face.mouth_width - np.abs(x)) * PIXELS_PER_UNIT / 3.0, 0.0, 1.0)
        lips = inside(np.minimum(y - outer_top, outer_bottom - y), 2.5) * within
        gloss = 0.80 + 0.35 * bump(x, y - bottom, (-0.05, 0.03), (0.14, 0.018))
        gloss -= 0.12 * ramp(top - y, -0.01, 0.03)
        paint(image, (gloss[..., None] * np.array(LIP)).astype(np.float32), 0.9 * lips)
        under = np.exp(-(((y - outer_bottom - 0.02) / 0.022) ** 2)) * within
        paint(image, CREASE, 0.30 * under * (1.0 - ramp(np.abs(x), 0.05, face.mouth_width)))
        opening = inside(np.minimum(y - top, bottom - y), 1.6) * within
        paint(image, MOUTH_DARK, opening)
        self._paint_teeth(image, x, y, opening, top, bottom)
        corner = bump(np.abs(x), y, (face.mouth_width, 0.535 - face.corner_lift), (0.030, 0.026))
        paint(image, CREASE, 0.75 * corner)

    def _paint_teeth(
        self, image: Array, x: Array, y: Array, opening: Array, top: Array, bottom: Array
    ) -> None:
        """Return the upper row of teeth and, when bared, the lower one."""
        face = self.expression
        bite = np.minimum(top + 0.105, top + 0.9 * (bottom - top))
        rows = inside(bite - y, 2.5)
        lower_edge = np.maximum(bottom - 0.07, bite + 0.012)
        rows = np.maximum(rows, face.lower_teeth * inside(y - lower_edge, 2.5))
        spacing = 0.062
        gap = np.abs((x / spacing) % 1.0 - 0.5) * spacing
        tone = 1.0 - 0.16 * np.exp(-((gap / 0.006) ** 2))
        tone *= 1.0 - 0.55 * ramp(np.abs(x) / face.mouth_width, 0.45, 1.0)
        tone *= 0.82 + 0.18 * ramp(y - top, 0.0, 0.035)
        paint(image, (tone[..., None] * np.array(TEETH)).astype(np.float32), opening * rows)

    def _paint_hair(self, image: Array, x: Array, y: Array) -> None:
        """Short hair: a cap over the skull with a parting, and strands that catch the light."""
        skull = 1.0 - np.hypot(x / 0.775, (y + 0.20) / 0.88)
        hairline = (
            -0.59 + 0.05 * np.sin(2.6 * x + 0.6) + 22.0 * np.clip(np.abs(x) - 0.42, 0, 1) ** 3
        )
        hairline += 0.010 * np.sin(17.0 * x) + 0.004 * np.sin(97.0 * x + 1.0)
        slope = 1.0 + 66.0 * np.clip(np.abs(x) - 0.42, 0, 1) ** 2
        cap = inside(np.minimum(skull, (hairline - y) / slope), 9.0) * ramp(-y, -0.06, 0.10)
        angle = np.arctan2(x + 0.12, -(y + 0.15))
        strands = np.sin(46.0 * angle + 3.0 * np.sin(9.0 * y)) + np.sin(97.0 * angle + 5.0 * x)
        sheen = bump(x, y, (-0.25, -0.80), (0.35, 0.16))
        tone = 0.85 + 0.10 * strands + (1.0 + 0.35 * strands) * sheen
        paint(image, (tone[..., None] * np.array(HAIR)).astype(np.float32), 0.97 * cap)
        shadow = ramp(hairline + 0.07 - y, 0.0, 0.07) * (1.0 - cap) * inside(skull, 4.0)
        paint(image, CREASE, 0.30 * shadow * (1.0 - ramp(np.abs(x), 0.4, 0.6)))

    def _photograph(self, image: Array) -> NDArray[np.uint8]:
        """Return what a camera adds: a soft lens, darker corners, grain."""
        image = blur(image, 0.9)
        image *= (1.0 - 0.10 * (self.frame_x**2 + self.frame_y**2))[..., None]
        grain = self.random.standard_normal((HEIGHT, WIDTH, 1)).astype(np.float32)
        image += 0.010 * grain
        return (np.clip(image, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
