"""Floating-point operations of CLIP's towers, counted by hand: two for a multiply-add.

PyTorch's own counter does not see fused attention, and gives a third too few.
Products of matrices alone are counted; norms, activations and softmax are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

GIGA = 1e9


@dataclass(frozen=True)
class Transformer:
    """A stack of transformer blocks with an MLP four times as wide.

    Parameters
    ----------
    width, layers : int
    """

    width: int
    layers: int

    def operations(self, n_tokens: int) -> float:
        """Return what one sequence takes."""
        linear = 2 * n_tokens * 12 * self.width**2  # query, key, value, out, and 4 + 4 of the MLP
        attention = 2 * 2 * n_tokens**2 * self.width
        return float(self.layers * (linear + attention))


@dataclass(frozen=True)
class Towers:
    """CLIP's image and text towers.

    Parameters
    ----------
    image, text : Transformer
    patch, image_size : int
        Pixels.
    embedding : int
        Width of what both towers give.
    """

    image: Transformer
    text: Transformer
    patch: int
    image_size: int
    embedding: int

    def picture(self) -> float:
        """Return operations for one frame, or one picture of sound."""
        patches = (self.image_size // self.patch) ** 2
        cut = 2 * patches * 3 * self.patch**2 * self.image.width
        projected = 2 * self.image.width * self.embedding
        return self.image.operations(patches + 1) + cut + projected

    def sentence(self, n_tokens: int = 77) -> float:
        """Return operations for one text of so many tokens."""
        return self.text.operations(n_tokens) + 2 * self.text.width * self.embedding

    def clip(self, n_frames: int, n_segments: int, n_tokens: int) -> float:
        """Return operations for one clip; fusion, below 1 %, is left out."""
        texts = self.sentence(n_tokens) if n_tokens else 0.0
        return (n_frames + n_segments) * self.picture() + texts


VIT_B_32 = Towers(
    image=Transformer(width=768, layers=12),
    text=Transformer(width=512, layers=12),
    patch=32,
    image_size=224,
    embedding=512,
)
