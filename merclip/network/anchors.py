"""VEGA's visual anchors: labels that are pictures, and the branch that learns from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from merclip.errors import InputError

FUSED = "F"
"""Letter of the fused output, beside those of the modalities."""
OUTPUTS = "FLAV"
ANCHOR_SCALE = 100.0
"""VEGA's logits are so many times the cosine."""
DROPOUT = 0.37442
SAMPLING = 0.4
"""VEGA's `rand`: how often a batch sees one exemplar of each class in place of the centres."""


class Anchors(nn.Module):
    """Embedded pictures of each class, and the centre of each class's.

    Some classes may have no picture; what is compared with anchors then has a column
    for each of the others.

    Parameters
    ----------
    exemplars : sequence of length k of Tensor of shape (n_c, D)
        Embeddings of the pictures of each class, in class order; a class without
        pictures has none (n_c = 0). Scaled to norm 1 here.

    Attributes
    ----------
    features : Tensor of shape (n, D)
        All exemplars, of norm 1, one class after another.
    counts : Tensor of shape (k,), int64
        How many exemplars each class has.
    centres : Tensor of shape (c, D)
        For each class with anchors the plain mean of its exemplars.

    Raises
    ------
    InputError
        No class has an exemplar, or the embeddings are not of one width.
    """

    features: Tensor
    counts: Tensor
    centres: Tensor

    def __init__(self, exemplars: Sequence[Tensor]) -> None:
        super().__init__()
        counts = torch.tensor([len(rows) for rows in exemplars], dtype=torch.int64)
        given = [rows for rows in exemplars if len(rows)]
        if not given or len({rows.shape[1:] for rows in given}) > 1 or given[0].ndim != 2:
            raise InputError("Anchors need embeddings of one width, of at least one class.")
        features = functional.normalize(torch.cat(given).detach().float(), dim=-1)
        self.register_buffer("features", features)
        self.register_buffer("counts", counts)
        parts = torch.split(features, counts[counts > 0].tolist())
        self.register_buffer("centres", torch.stack([part.mean(dim=0) for part in parts]))

    @property
    def present(self) -> Tensor:
        """Which classes have anchors: shape (k,), bool."""
        return self.counts > 0

    @property
    def places(self) -> Tensor:
        """The column of each class: shape (k,), int64; -1 for one without anchors."""
        present = self.present
        return torch.where(present, present.cumsum(0) - 1, -1)

    def exemplars(self) -> list[Tensor]:
        """Return what the anchors were made of, of norm 1, in class order."""
        return list(torch.split(self.features, self.counts.tolist()))

    def selected(self) -> Tensor:
        """Return the centres, of norm 1: shape (c, D)."""
        return functional.normalize(self.centres, dim=-1)

    def draw(
        self, probability: float = SAMPLING, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return one anchor of each class, as a training batch sees them: shape (c, D).

        Parameters
        ----------
        probability : float
            Of one exemplar of each class, drawn evenly, in place of the centres.
        generator : torch.Generator, optional
            Of the CPU; by default torch's own.
        """
        # As many numbers whatever comes of it: the state of the generator tells the step.
        chance = torch.rand(1 + len(self.centres), generator=generator)
        if float(chance[0]) >= probability:
            return self.selected()
        counts = self.counts[self.present]
        # float32 below 1 can give the count itself after the product is rounded.
        offsets = (chance[1:].to(counts.device) * counts).long().minimum(counts - 1)
        return self.features[counts.cumsum(0) - counts + offsets]


class AnchorBranch(nn.Module):
    """Project what was made of utterances into the space of pictures.

    Parameters
    ----------
    width : int
        Of each representation.
    embed_dim : int
        Dimensions of the anchors.
    hidden : int, optional
        Units of the layer between; by default `width`, as VEGA has it.
    outputs : iterable of str
        Letters of the representations: "F" is the fused one.
    dropout : float
    scale : float
        Logits are so many times the cosine.

    Attributes
    ----------
    temperature : Tensor of shape ()
        What logits are divided by for probabilities, once it was fitted to validation:
        at VEGA's scale they are surer than right. The losses know nothing of it.
    """

    temperature: Tensor

    def __init__(
        self,
        width: int,
        embed_dim: int,
        hidden: int | None = None,
        *,
        outputs: Iterable[str] = OUTPUTS,
        dropout: float = DROPOUT,
        scale: float = ANCHOR_SCALE,
    ) -> None:
        super().__init__()
        self.scale = scale
        self.register_buffer("temperature", torch.tensor(1.0))
        self.projections = nn.ModuleDict(
            {
                letter: nn.Sequential(
                    nn.Linear(width, hidden or width),
                    nn.ELU(),
                    nn.Dropout(dropout),
                    nn.Linear(hidden or width, embed_dim),
                )
                for letter in outputs
            }
        )

    def embed(self, letter: str, representation: Tensor) -> Tensor:
        """Project one output of shape (..., W) to shape (..., D), of norm 1."""
        return functional.normalize(self.projections[letter](representation), dim=-1)

    def forward(self, representations: Mapping[str, Tensor], anchors: Tensor) -> dict[str, Tensor]:
        """Compare each output with the anchors.

        Parameters
        ----------
        representations : mapping from letter to Tensor of shape (..., W)
        anchors : Tensor of shape (c, D)
            Of norm 1: `Anchors.draw` in training, `Anchors.selected` otherwise.

        Returns
        -------
        dict from letter to Tensor of shape (..., c)
            Logits.
        """
        return {
            letter: self.scale * self.embed(letter, representation) @ anchors.T
            for letter, representation in representations.items()
        }
