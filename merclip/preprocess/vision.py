"""Frames to the image tower's input."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from merclip.preprocess.config import VisionConfig
from merclip.types import ByteArray


def frames_to_tensor(frames: ByteArray, image_size: int, config: VisionConfig) -> Tensor:
    """Resize and crop frames, keeping 8 bits.

    Parameters
    ----------
    frames : ndarray of shape (T, H, W, 3), uint8
    image_size : int
    config : VisionConfig

    Returns
    -------
    Tensor of shape (T, 3, image_size, image_size), uint8
    """
    pictures = torch.from_numpy(_without_far_ends(frames)).permute(0, 3, 1, 2)
    height, width = _resized(pictures.shape[2], pictures.shape[3], image_size)
    # One frame at a time: a batch of them would need the full-size copies at once.
    resized = [
        functional.interpolate(
            picture[None],
            size=(height, width),
            mode=config.interpolation,
            antialias=True,
            align_corners=False,
        )
        for picture in pictures
    ]
    top, left = round((height - image_size) / 2), round((width - image_size) / 2)
    batch = torch.cat(resized)
    return batch[:, :, top : top + image_size, left : left + image_size].contiguous()


def normalize_frames(frames: Tensor, config: VisionConfig, dtype: torch.dtype) -> Tensor:
    """Scale 8-bit frames to [0, 1] and set CLIP's mean and deviation."""
    shape = (1, 3, 1, 1)
    mean = torch.tensor(config.mean, device=frames.device).view(shape)
    std = torch.tensor(config.std, device=frames.device).view(shape)
    return ((frames.float() / 255 - mean) / std).to(dtype)


def _resized(height: int, width: int, image_size: int) -> tuple[int, int]:
    if height <= width:
        return image_size, max(image_size, int(image_size * width / height))
    return max(image_size, int(image_size * height / width)), image_size


def _without_far_ends(frames: ByteArray, longest_ratio: int = 8) -> ByteArray:
    # The crop keeps the centre alone, and a picture of 2 x 50,000 pixels would
    # otherwise be blown up to gigabytes.
    height, width = frames.shape[1:3]
    keep_height, keep_width = min(height, longest_ratio * width), min(width, longest_ratio * height)
    top, left = (height - keep_height) // 2, (width - keep_width) // 2
    return frames[:, top : top + keep_height, left : left + keep_width]
