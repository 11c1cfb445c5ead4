"""The net: three sparse auto-encoders one on the other, 1024-200-200-200, and two logistic outputs.

Each encoder learns alone to give back what it sees (`cost`), then all learn together what is tumour.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from precision import autocast
from torch import Tensor, nn

from penn.patches import SIDE

WIDTHS = (SIDE * SIDE, 200, 200, 200)
# Outputs of the head: other, tumour.
OUTPUTS = 2
# Mean activations stay so far from 0 and 1 that their logarithms are finite.
LEAST_ACTIVATION = 1e-6
BATCH = 64


@dataclass(frozen=True)
class Regularisation:
    """Weights of the cost's terms. The paper names them without values: these are those of MATLAB's `trainAutoencoder`."""

    decay: float = 0.001
    sparsity: float = 1.0
    activation: float = 0.05


NONE = Regularisation(decay=0.0, sparsity=0.0)


class AutoEncoder(nn.Module):
    """One layer with the decoder that is thrown away."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(inputs, outputs), nn.Linear(outputs, inputs)
        for layer in (self.encoder, self.decoder):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = torch.sigmoid(self.encoder(x))
        return hidden, torch.sigmoid(self.decoder(hidden))


def divergence(activation: float, mean: Tensor) -> Tensor:
    """Kullback-Leibler divergence of the units' mean activations from the wanted one, summed."""
    mean = mean.clamp(LEAST_ACTIVATION, 1 - LEAST_ACTIVATION)
    on, off = activation * torch.log(activation / mean), (1 - activation) * torch.log((1 - activation) / (1 - mean))
    return (on + off).sum()


def cost(layer: AutoEncoder, x: Tensor, rule: Regularisation) -> Tensor:
    """Half the squared error of a sample, half the squared weights, and how far the units are from being sparse."""
    # Means and squares of what was multiplied in bfloat16 are taken in the samples' own precision.
    hidden, again = (value.to(x.dtype) for value in layer(x))
    error = 0.5 * (x - again).square().sum(1).mean()
    weights = sum(part.weight.square().sum() for part in (layer.encoder, layer.decoder))
    return error + rule.decay / 2 * weights + rule.sparsity * divergence(rule.activation, hidden.mean(0))


class Penn(nn.Module):
    """Encoders and head; `forward` gives what the head adds up before its logistic function."""

    def __init__(self) -> None:
        super().__init__()
        pairs = zip(WIDTHS[:-1], WIDTHS[1:], strict=True)
        self.encoders = nn.ModuleList(nn.Linear(inputs, outputs) for inputs, outputs in pairs)
        self.head = nn.Linear(WIDTHS[-1], OUTPUTS)

    def forward(self, x: Tensor) -> Tensor:
        for encoder in self.encoders:
            x = torch.sigmoid(encoder(x))
        return self.head(x)

    def layers(self) -> list[nn.Linear]:
        return [*self.encoders, self.head]

    def scores(self, patches: np.ndarray) -> np.ndarray:
        """Share of the tumour's output in both: above one half where it is the larger one. By NumPy, whose products of
        float32 take a tenth of the time of those of the PyTorch that Debian builds."""
        x = patches
        for layer in self.layers():
            x = x @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
            x = 1 / (1 + np.exp(-x))
        return x[:, 1] / x.sum(1).clip(np.finfo(x.dtype).tiny)


def batches(count: int, rng: np.random.Generator) -> list[np.ndarray]:
    """One epoch's batches of indices, in random order; a short last one is left to another epoch's order."""
    order = rng.permutation(count)
    return [order[n : n + BATCH] for n in range(0, max(count - BATCH, 0) + 1, BATCH)]


def pretrain(
    net: Penn, patches: Tensor, epochs: int, rule: Regularisation, rng: np.random.Generator, rate: float
) -> list[tuple[float, float]]:
    """Layer by layer; returns each layer's mean cost of the first and of the last epoch."""
    seen, told = patches, []
    for n, (inputs, outputs) in enumerate(zip(WIDTHS[:-1], WIDTHS[1:], strict=True)):
        layer = AutoEncoder(inputs, outputs)
        optimiser, means = torch.optim.Adam(layer.parameters(), rate), []
        for _ in range(epochs):
            costs = []
            for batch in batches(len(seen), rng):
                with autocast("cpu"):
                    value = cost(layer, seen[batch], rule)
                optimiser.zero_grad()
                value.backward()
                optimiser.step()
                costs.append(float(value.detach()))
            means.append(float(np.mean(costs)))
        net.encoders[n].load_state_dict(layer.encoder.state_dict())
        with torch.no_grad(), autocast("cpu"):
            seen = torch.cat([torch.sigmoid(layer.encoder(part)).float() for part in seen.split(4096)])
        told.append((means[0], means[-1]))
        print(f"encoder {n + 1}: cost {means[0]:.3f} -> {means[-1]:.3f}", flush=True)
    return told


def fine_tune(net: Penn, patches: Tensor, tumour: Tensor, epochs: int, rng: np.random.Generator, rate: float) -> list[float]:
    """All layers together, by the cross-entropy of both outputs; returns the mean loss of each epoch."""
    wanted = F.one_hot(tumour.long(), OUTPUTS).float()
    optimiser, means = torch.optim.Adam(net.parameters(), rate), []
    for epoch in range(epochs):
        for group in optimiser.param_groups:
            group["lr"] = rate * (0.5 + 0.5 * np.cos(np.pi * epoch / epochs))
        losses = []
        for batch in batches(len(patches), rng):
            with autocast("cpu"):
                given = net(patches[batch])
            loss = F.binary_cross_entropy_with_logits(given.float(), wanted[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(float(loss.detach()))
        means.append(float(np.mean(losses)))
    return means
