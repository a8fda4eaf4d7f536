"""Small heads shared by the perception decoders: boxes and masks by MLP, classes by product.

Their geometry and logits are float32 whatever the precision around them.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from transformers.models.grounding_dino.modeling_grounding_dino import (
    GroundingDinoMLPPredictionHead,
)

#: Start of the learned bias of a scaled product: few of the pairs of query and class are positive.
_INITIAL_BIAS = -4.0
#: The detection decoder's; released weights depend on it.
LOGIT_EPS = 1e-5


class FloatMLP(GroundingDinoMLPPredictionHead):
    """MLP with ReLU between its layers, computed outside autocast, float32 out."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., C) to (..., C') float32."""
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.to(self.layers[0].weight.dtype)).float()


class CastingMLP(GroundingDinoMLPPredictionHead):
    """MLP with ReLU that takes input of any precision, so that geometry may enter as float32."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., C) to (..., C')."""
        return super().forward(x.to(self.layers[0].weight.dtype))


class ClassLogits(nn.Module):
    """Product of query states and class features.

    Args:
        width: channels D of both.
        scaled: False is the released plain product without parameters; True divides it by sqrt(D)
            and adds a learned scale and bias, which starts at small losses.
    """

    def __init__(self, width: int, *, scaled: bool) -> None:
        """Make the parameters, if any."""
        super().__init__()
        self.width = width
        self.log_scale = nn.Parameter(torch.zeros(())) if scaled else None
        self.bias = nn.Parameter(torch.full((), _INITIAL_BIAS)) if scaled else None

    def forward(self, states: Tensor, classes: Tensor) -> Tensor:
        """Return (..., Q, N) float32 logits of states (..., Q, D) and classes (..., N, D)."""
        with torch.autocast(states.device.type, enabled=False):
            product = states.float() @ classes.float().transpose(-1, -2)
            if self.log_scale is None or self.bias is None:
                return product
            scale = self.log_scale.float().exp() / math.sqrt(self.width)
            return product * scale + self.bias.float()


def inverse_sigmoid(x: Tensor, eps: float = LOGIT_EPS) -> Tensor:
    """Return the logit of x in 0..1; x and 1 - x are cut below at `eps`."""
    x = x.clamp(0, 1)
    return torch.log(x.clamp(min=eps) / (1 - x).clamp(min=eps))
