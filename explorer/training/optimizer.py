"""SGD and Adam by torch's functions. Its classes import torch's compiler at their first step, which takes a second."""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.sgd import sgd

from explorer.training.config import TrainingConfig


class Optimizer:
    """The bits of `torch.optim.SGD` and `torch.optim.Adam` with their defaults. `state` holds the moments of each
    parameter under torch's names, from its first step on."""

    def __init__(self, parameters: Iterable[Tensor], config: TrainingConfig) -> None:
        self._parameters, self._config = list(parameters), config
        self.state: dict[Tensor, dict[str, Tensor]] = {}

    def zero_grad(self) -> None:
        for parameter in self._parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self, rate: float, weight_decay: float | None = None) -> None:
        """Changes the parameters that have a gradient, at the rate `rate`; with the config's weight decay, unless
        a dial has another one."""
        pairs = [(each, each.grad) for each in self._parameters if each.grad is not None]
        parameters, gradients = [each for each, _ in pairs], [gradient for _, gradient in pairs]
        step = self._adam if self._config.optimizer == "adam" else self._sgd
        step(parameters, gradients, rate, self._config.weight_decay if weight_decay is None else weight_decay)

    def _sgd(self, parameters: list[Tensor], gradients: list[Tensor], rate: float, weight_decay: float) -> None:
        config = self._config
        buffers = [self.state.get(each, {}).get("momentum_buffer") for each in parameters] if config.momentum else []
        sgd(
            parameters,
            gradients,
            buffers,
            weight_decay=weight_decay,
            momentum=config.momentum,
            lr=rate,
            dampening=0.0,
            nesterov=config.nesterov and config.momentum > 0,
            maximize=False,
        )
        # torch puts the buffers of the first step into the list.
        self.state |= {
            each: {"momentum_buffer": buffer}
            for each, buffer in zip(parameters, buffers, strict=False)
            if buffer is not None
        }

    def _adam(self, parameters: list[Tensor], gradients: list[Tensor], rate: float, weight_decay: float) -> None:
        for each in parameters:
            if not self.state.get(each):
                # `step` stays on the CPU: a GPU would have to be asked for it.
                moments = {name: torch.zeros_like(each) for name in ("exp_avg", "exp_avg_sq")}
                self.state[each] = {"step": torch.tensor(0.0, dtype=torch.float32), **moments}
        first, second, steps = (
            [self.state[each][name] for each in parameters] for name in ("exp_avg", "exp_avg_sq", "step")
        )
        adam(
            parameters,
            gradients,
            first,
            second,
            [],
            steps,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=rate,
            weight_decay=weight_decay,
            eps=1e-8,
            maximize=False,
        )
