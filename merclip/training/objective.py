"""VEGA's objective over MER-CLIP's outputs."""

from __future__ import annotations

import hashlib

from torch import Tensor, nn
from torch.nn import functional

from merclip.network import MERCLIP
from merclip.network.anchors import FUSED, Anchors
from merclip.preprocess import FeatureBatch
from merclip.training.vega import Temperatures, Totals, VegaObjective, vega_loss, vega_terms


class VegaTraining:
    """VEGA's losses, of each modality's own embedding beside the fused one.

    Parameters
    ----------
    network : MERCLIP
        With a branch for anchors, if they are trained on.
    objective : VegaObjective
    anchors : Anchors or None
        None leaves the groups of losses by anchors out.
    """

    def __init__(
        self, network: MERCLIP, objective: VegaObjective, anchors: Anchors | None = None
    ) -> None:
        self.network = network
        self.objective = objective
        self.anchors = anchors if objective.uses_anchors else None
        self.temperatures = Temperatures(objective.temperature).to(network.device)
        self._drawn: Tensor | None = None

    def begin(self, training: bool) -> None:
        """Draw anchors for a batch; outside of training they are the centres."""
        if self.anchors is None:
            return
        draws = training or self.objective.sample_at_evaluation
        drawn = self.anchors.draw(self.objective.sampling) if draws else self.anchors.selected()
        self._drawn = drawn.to(self.network.device)

    def loss(
        self,
        batch: FeatureBatch,
        labels: Tensor | None,
        targets: Tensor,
        weights: Tensor,
        totals: Totals,
    ) -> Tensor:
        """Return the part's share of the four groups of losses."""
        device = self.network.device
        outputs = {FUSED: self.network.fuse(batch)}
        for letter, embedding in self.network.global_embeddings(batch).items():
            outputs[letter] = functional.normalize(embedding.float(), dim=-1)
        # A weak modality would make one scale that all share less sure than is right.
        words = {
            letter: self.network.logits(output, labels, False, fixed_scale=letter != FUSED)
            for letter, output in outputs.items()
        }
        terms = vega_terms(
            words,
            self._by_anchors(outputs),
            targets.to(device),
            self.objective,
            self.temperatures,
            present={letter: batch.present(letter) for letter in batch.masks},
            weights=weights.to(device),
            places=None if self.anchors is None else self.anchors.places,
            totals=totals,
        )
        return vega_loss(terms, self.objective)

    def parameters(self) -> list[nn.Parameter]:
        """Return the temperatures."""
        return list(self.temperatures.parameters())

    def identity(self) -> str:
        """Return a hash of the weights and the anchors."""
        digest = hashlib.sha256(repr(self.objective).encode())
        if self.anchors is not None:
            digest.update(self.anchors.features.cpu().numpy().tobytes())
            digest.update(repr(self.anchors.counts.tolist()).encode())
        return digest.hexdigest()[:16]

    def _by_anchors(self, outputs: dict[str, Tensor]) -> dict[str, Tensor] | None:
        if self.anchors is None:
            return None
        branch = self.network.anchor_branch
        assert branch is not None and self._drawn is not None
        found: dict[str, Tensor] = branch(outputs, self._drawn)
        return found
