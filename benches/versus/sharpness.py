"""The whole measure in PyTorch, twice: clino's definition written well, and the published procedure."""

from __future__ import annotations

from statistics import fmean

import torch
from torch import Tensor
from torch.nn import functional

from .network import Batch, Network, norm

DRAWS, ALPHA, NOISE, STEP = 8, 0.05, 0.1, 1.0
PUBLISHED_NOISE, PUBLISHED_STEP = 0.1, 0.05


class Lean:
    """The stable definition with nothing superfluous.

    The parameters lie in one buffer, so every pass over them is one operation in place; losses without a
    gradient run in inference mode, the base loss is shared by the draws, and the noise becomes the
    displacement where it lies.
    """

    def __init__(self, network: Network, batch: Batch) -> None:
        parameters = network.parameters
        self.batch = batch
        self.start = torch.cat([tensor.detach().reshape(-1) for tensor in parameters.values()])
        self.weights = self.start.clone()
        self.delta = torch.empty_like(self.start)
        sizes = [tensor.numel() for tensor in parameters.values()]
        shapes = [tensor.shape for tensor in parameters.values()]
        self.pieces = [part.view(shape) for part, shape in zip(self.delta.split(sizes), shapes, strict=True)]
        placed = [part.view(shape) for part, shape in zip(self.weights.split(sizes), shapes, strict=True)]
        self.network = Network(network.config, dict(zip(parameters, placed, strict=True)))

    def __call__(self) -> float:
        """Mean rise of the loss over the draws; the weights are as before afterwards."""
        generator = torch.Generator().manual_seed(0)
        radius = ALPHA * torch.linalg.vector_norm(self.start).item()
        base = self._loss()
        rises = [self._draw(radius, generator) - base for _ in range(DRAWS)]
        self.weights.copy_(self.start)
        return fmean(rises)

    def _loss(self) -> float:
        with torch.inference_mode():
            return self.network.loss(self.batch).item()

    def _draw(self, radius: float, generator: torch.Generator) -> float:
        """Loss after noise, one normalized step up the gradient, and the way back onto the ball."""
        size = torch.linalg.vector_norm(self.delta.normal_(generator=generator)).item()
        self.delta.mul_(NOISE * radius / size)
        torch.add(self.start, self.delta, out=self.weights)
        gradients = self.network.gradients(self.batch)
        torch._foreach_add_(self.pieces, gradients, alpha=STEP * radius / norm(gradients))
        del gradients
        size = torch.linalg.vector_norm(self.delta).item()
        torch.add(self.start, self.delta, alpha=min(1.0, radius / size), out=self.weights)
        return self._loss()


class Published:
    """The procedure of Bassi, Ataman and Cho (2024) as their published code has it, once for every draw.

    Kept on purpose: autograd stays on for the losses, the gradient is built to be differentiated again, four
    copies of the parameters live together, each tensor is projected on its own onto a radius taken from the
    perturbed weights, and the weights stay where they ended, so that the next call needs them loaded again.
    Training mode has no effect here: there is no dropout.
    """

    def __init__(self, network: Network, batch: Batch) -> None:
        self.network, self.batch = network, batch
        self.saved = [tensor.detach().clone() for tensor in network.parameters.values()]

    def __call__(self) -> float:
        """Mean over as many calls as there are draws."""
        rises = []
        for _ in range(DRAWS):
            rises.append(self._call())
            for tensor, saved in zip(self.network.parameters.values(), self.saved, strict=True):
                tensor.data.copy_(saved)
        return fmean(rises)

    def _call(self) -> float:
        parameters = list(self.network.parameters.values())
        before = [tensor.detach().clone() for tensor in parameters]
        base = self.network.loss(self.batch).item()
        for tensor in parameters:
            tensor.data = tensor.data + PUBLISHED_NOISE * torch.randn_like(tensor.data)
        loss = functional.cross_entropy(self.network.logits(self.batch), self.batch.labels)
        gradients = torch.autograd.grad(loss, parameters, create_graph=True, retain_graph=True)
        for tensor, gradient in zip(parameters, gradients, strict=True):
            tensor.data = tensor.data + PUBLISHED_STEP * gradient.data
        after = [tensor.detach().clone() for tensor in parameters]
        projected = self._project(before, after)
        for tensor, place in zip(parameters, projected, strict=True):
            tensor.data = place
        return self.network.loss(self.batch).item() - base

    def _project(self, before: list[Tensor], after: list[Tensor]) -> list[Tensor]:
        radius = ALPHA * sum(tensor.norm().item() for tensor in after)
        moved = [b - a for a, b in zip(before, after, strict=True)]
        for index, delta in enumerate(moved):
            if (size := delta.norm().item()) >= radius:
                moved[index] = delta * (radius / size)
        return [a + delta for a, delta in zip(before, moved, strict=True)]


WAYS: dict[str, type[Lean | Published]] = {"lean": Lean, "published": Published}
