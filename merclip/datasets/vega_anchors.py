"""VEGA's file of embedded pictures, read without running anything that is in it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from merclip.datasets._files import Folder
from merclip.errors import CheckpointError, DatasetNotFoundError, InputError
from merclip.network.weights import read_pickle, tensors_of

Array = np.ndarray[Any, Any]


def load_vega_anchors(path: Folder) -> dict[str, Array]:
    """Load the embedded pictures of each emotion that VEGA gives out, ``35_anchor.pt``.

    They are embeddings of CLIP ViT-B/32, for `ConversationClassifier`; its centres are the
    means of what is read, and are not. Only tensors are taken, and nothing in the file is
    executed.

    Parameters
    ----------
    path : path

    Returns
    -------
    dict from label to ndarray of shape (n, D), float32

    Raises
    ------
    DatasetNotFoundError
        There is no such file.
    InputError
        The file asks to run something, is broken, or has another layout.

    Notes
    -----
    Source: the layout is that which VEGA's public code describes, a dictionary whose
    ``anchor_img_dict`` has a ``feature`` for each label.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import torch
    >>> from merclip.datasets import load_vega_anchors
    >>> pictures = {"happy": {"feature": torch.eye(2)}, "sad": {"feature": -torch.eye(2)}}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "anchors.pt")
    ...     torch.save({"anchor_center": torch.ones(2, 2), "anchor_img_dict": pictures}, path)
    ...     anchors = load_vega_anchors(path)
    >>> {label: rows.shape for label, rows in anchors.items()}
    {'happy': (2, 2), 'sad': (2, 2)}
    """
    place = Path(path)
    if not place.is_file():
        raise DatasetNotFoundError(f"There is no file {str(place)!r}: check the path.")
    try:
        content = read_pickle(place)
        listed = content.get("anchor_img_dict") if isinstance(content, Mapping) else None
        if not isinstance(listed, Mapping) or not listed:
            raise InputError(f"{str(place)!r} has no anchor_img_dict, as VEGA's anchors have.")
        features = {
            str(label): part.get("feature") if isinstance(part, Mapping) else None
            for label, part in listed.items()
        }
        tensors = tensors_of(features, place)
    except CheckpointError as error:
        raise InputError(str(error)) from error
    found = {label: tensor.detach().float().numpy() for label, tensor in tensors.items()}
    widths = {rows.shape[1:] for rows in found.values()}
    matrices = all(rows.ndim == 2 and rows.size for rows in found.values())
    if (
        not matrices
        or len(widths) > 1
        or not all(np.isfinite(rows).all() for rows in found.values())
    ):
        raise InputError(
            f"{str(place)!r} is no file of anchors: each label has finite numbers of shape (n, D), "
            f"got {[(label, rows.shape) for label, rows in found.items()][:8]}."
        )
    return found
