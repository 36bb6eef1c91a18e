"""Networks trained side by side: their weights stacked, so that one call of an operation serves all of them.

A GPU takes about as long to start an operation on a small network as to compute it. Twenty networks in one
operation start once rather than twenty times (`torch.func.vmap`).
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from datadam_lite.errors import DataDamError
from datadam_lite.memory import budget, bytes_per_image
from datadam_lite.settings import Settings


class Stacked:
    """N networks of one architecture, called as one. A single network is called as it is.

    weights: {name: [N, ...]}, what an optimiser changes; buffers: {name: [N, ...]}, running statistics.
    The networks themselves are as they were until `unstack`.

    >>> from datadam_lite.networks import ConvNet
    >>> stacked = Stacked([ConvNet((1, 8, 8), 10, width=4) for _ in range(3)])
    >>> stacked.logits(torch.zeros(6, 1, 8, 8)).shape      # two images for each of three networks
    torch.Size([6, 10])
    >>> stacked.weights["head.weight"].shape
    torch.Size([3, 10, 4])
    """

    def __init__(self, networks: Sequence[nn.Module]):
        self.networks = list(networks)
        if len(self.networks) == 1:
            self.weights, self.buffers = dict(self.networks[0].named_parameters()), {}
        else:
            self.weights, self.buffers = stack_module_state(self.networks)

    def logits(self, x: Float[Tensor, "nb c h w"]) -> Float[Tensor, "nb k"]:
        """Return the logits of N*B images: the first B are the first network's own, and so on."""
        if len(self.networks) == 1:
            return self.networks[0](x).logits
        x = x.unflatten(0, (len(self.networks), -1))  # (N, B, C, H, W)
        return vmap(self._logits)(self.weights, self.buffers, x).flatten(0, 1)

    def _logits(self, weights: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor) -> Tensor:
        """The logits of one network, as a function of its weights; vmap makes it one of [N, ...] weights."""
        return functional_call(self.networks[0], (weights, buffers), (x,)).logits

    def unstack(self) -> list[nn.Module]:
        """Return the networks, each with its own weights and running statistics."""
        if len(self.networks) > 1:
            state = self.weights | self.buffers
            for i, network in enumerate(self.networks):
                network.load_state_dict({name: tensor[i] for name, tensor in state.items()})
        return self.networks


def has_dropout(network: nn.Module) -> bool:
    """Whether the network, in training mode, draws which values to leave out.

    >>> from datadam_lite.networks import ConvNet
    >>> has_dropout(ConvNet((1, 8, 8), 10)), has_dropout(nn.Dropout(0.1))
    (False, True)
    """
    return any(isinstance(layer, nn.Dropout) and layer.p > 0 for layer in network.modules())


@torch.no_grad()
def networks_at_once(network: nn.Module, images: Float[Tensor, "b c h w"], settings: Settings) -> int:
    """How many such networks to train at once: at least 1.

    On a CPU, where arithmetic takes the time, one. On a GPU as many as fit the budget by an estimate: of a training
    step about a dozen maps of the largest size are alive, and of the weights their gradients and momentum too.

    images: a batch, on the device; settings: its `networks_at_once`, if given, is the answer.

    >>> from datadam_lite.networks import ConvNet
    >>> network, batch = ConvNet((1, 8, 8), 10), torch.zeros(4, 1, 8, 8)
    >>> networks_at_once(network, batch, Settings(device="cpu"))
    1
    >>> networks_at_once(network, batch, Settings(device="cpu", networks_at_once=7))
    7
    """
    if has_dropout(network):
        return 1
    if settings.networks_at_once:
        return settings.networks_at_once
    if images.device.type == "cpu":
        return 1
    return max(1, budget(images.device) // bytes_of_step(network, images))


@torch.no_grad()
def bytes_of_step(network: nn.Module, images: Float[Tensor, "b c h w"]) -> int:
    """Bytes alive in a training step of one network: an estimate, in float32.

    >>> from datadam_lite.networks import ConvNet
    >>> bytes_of_step(ConvNet((3, 32, 32), 10), torch.zeros(10, 3, 32, 32)) // 2**20  # 10 x 128 x 32 x 32 x 4 x 12, …
    63
    """
    largest = bytes_per_image(network, tuple(images.shape[1:]))
    return 12 * len(images) * largest + 3 * sum(weight.nbytes for weight in network.parameters())


def halved(at_once: int, error: torch.OutOfMemoryError) -> int:
    """Return half as many networks, after the memory of a GPU was too small for so many.

    Raises: DataDamError if there was only one.

    >>> halved(5, torch.OutOfMemoryError("out of memory"))
    2
    """
    if at_once == 1:
        raise DataDamError(
            "the GPU ran out of memory with a single network: use a protocol of a smaller batch or width, or "
            "mixed precision."
        ) from error
    return at_once // 2
