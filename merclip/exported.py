"""Image encoders whose tower OpenVINO runs in place of torch."""

from __future__ import annotations

import copy
import threading
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from merclip._optional import import_openvino
from merclip.network.encoders import ImageEncoder

PRECISIONS = {torch.float32: "f32", torch.bfloat16: "bf16"}


class ExportedEncoder(ImageEncoder):
    """An image encoder that was exported to OpenVINO, for inference on a CPU.

    It holds the weights as they were, and computes with as many threads as torch may use.

    Parameters
    ----------
    encoder : ImageEncoder
        On the CPU.
    pictures : Tensor of shape (n, 3, H, W), float32
        Like those that it will be given; n is at least 1, and may be another then.
    computes_in : torch.dtype
        float32 or bfloat16. Pictures and embeddings are float32.

    Raises
    ------
    MissingExtraError
        OpenVINO is not installed.
    """

    def __init__(
        self, encoder: ImageEncoder, pictures: Tensor, computes_in: torch.dtype = torch.float32
    ) -> None:
        super().__init__(_Compiled(_exported(encoder.tower, pictures), PRECISIONS[computes_in]))
        self.computes_in = computes_in

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the pictures that it takes."""
        return torch.float32


class _Compiled(nn.Module):
    """A tower that OpenVINO compiled; threads take turns."""

    def __init__(self, model: Any, precision: str) -> None:
        super().__init__()
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "INFERENCE_PRECISION_HINT": precision,
            "ENABLE_CPU_PINNING": False,
        }
        compiled = import_openvino().compile_model(model, "CPU", settings)
        self._request = compiled.create_infer_request()
        self._lock = threading.Lock()

    def forward(self, pictures: Tensor) -> Tensor:
        given = np.ascontiguousarray(pictures.numpy())
        with self._lock:  # the next inference writes over the results of this one
            self._request.infer([given], share_inputs=True)
            return torch.from_numpy(self._request.get_output_tensor(0).data.copy())


def _exported(tower: nn.Module, pictures: Tensor) -> Any:
    """Return OpenVINO's model of a tower, for any number of pictures."""
    openvino = import_openvino()
    if tower.training:
        tower = copy.deepcopy(tower).eval()
    # Of a single picture torch takes the one for a constant.
    several = pictures[:1].expand(2, -1, -1, -1).contiguous()
    with torch.inference_mode(False), torch.no_grad():
        several = several.clone()
        number = ({0: torch.export.Dim.DYNAMIC},)
        program = torch.export.export(tower, (several,), dynamic_shapes=number)
        return openvino.convert_model(program)
