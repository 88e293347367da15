"""Fill a run's folder from a finished checkpoint, so that some steps alone can be done anew.

    python examples/train_mini/from_checkpoint.py merclip/weights/mini --data DATA --run RUN_DIR
    python examples/train_mini/train.py --data DATA --run RUN_DIR --out OUT_DIR \
        --only voice_check voice fusion evidence calibration

keeps the label encoder, the language encoder and the vision tower, and trains the audio
tower and the fusion. With `--warm-vision` the vision tower is not kept: the step `vision`
starts from its weights.
Where RUN_DIR's language.pt is deleted, the step "language" goes on from
the checkpoint's language encoder.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from alignment_step import face_features
from spaces import aligned_tower
from tools import cached
from vision_step import some_faces

from merclip.network import load_checkpoint


def main() -> None:
    """Write the files of the steps before the audio tower's."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--warm-vision", action="store_true")
    arguments = parser.parse_args()
    arguments.run.mkdir(parents=True, exist_ok=True)
    network = load_checkpoint(arguments.checkpoint).network
    language = network.encoders["L"].tower.state_dict()
    del language["token_embedding.table.weight"]
    vision = network.encoders["V"].tower.state_dict()
    torch.save(network.label_encoder.tower.state_dict(), arguments.run / "text.pt")
    for name in ("language_start", "language"):
        torch.save(language, arguments.run / f"{name}.pt")
    if arguments.warm_vision:
        torch.save(vision, arguments.run / "vision_start.pt")
        return
    torch.save(vision, arguments.run / "alignment.pt")
    training, _ = some_faces(arguments.data, arguments.run)
    cached(
        arguments.run / "features_vision.pt",
        lambda: face_features(aligned_tower(vision), training),
    )


if __name__ == "__main__":
    main()
