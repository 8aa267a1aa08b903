"""One training in several processes, as `torchrun` starts them: each computes its share of every batch.

A step is that of one process with the whole batch, within the rounding of floats: gradients are averaged over the
processes (DistributedDataParallel), and BatchNorm takes its statistics from the whole batch. Dropout alone differs,
since each process draws the units of its own share.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as distributed
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from explorer.architectures import Network
from explorer.machine import launched

_PATIENCE = timedelta(days=1)  # the others wait while the first one downloads, or waits for its turn


@dataclass(frozen=True)
class Processes:
    """All `count` processes of a training, seen from the one of number `rank`. The first one, of rank 0, alone writes
    files and keeps the clock; all of them hold the same weights after each step."""

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def share(self, batch_size: int) -> slice:
        """This process's part of a batch. Raises ValueError where the parts would not be of one size."""
        if batch_size % self.count:
            raise ValueError(
                f"`batch_size` must be a multiple of the {self.count} processes, received {batch_size}; "
                f"take {max(1, batch_size // self.count) * self.count}."
            )
        size = batch_size // self.count
        return slice(self.rank * size, (self.rank + 1) * size)

    def agreed(self, *values: float) -> tuple[float, ...]:
        """The values that the first process has, in every process: what depends on a clock or a file is its choice."""
        if self.count == 1:
            return values
        chosen = torch.tensor(values, dtype=torch.float64)
        distributed.broadcast(chosen, 0)
        return tuple(chosen.tolist())

    def mean(self, value: Tensor) -> Tensor:
        """The mean over all processes; of one process the value itself."""
        if self.count == 1:
            return value
        total = value.detach().clone()
        distributed.all_reduce(total)
        return total / self.count

    def forward_of(self, network: Network) -> Callable[[Tensor], Tensor]:
        """The network as it is called in a step. In several processes they begin with the weights of the first one, and
        a backward pass leaves the mean gradient in each."""
        if self.count == 1:
            return network
        # The statistics of BatchNorm are the same everywhere already.
        parallel = DistributedDataParallel(
            network,
            forward_sync_buffers=False,
            find_unused_parameters=bool(network.spec.stochastic_depth),  # all leave out the same branches
        )

        def forward(batch: Tensor) -> Tensor:
            logits: Tensor = parallel(batch, self._run)
            return logits

        return forward

    def _run(self, module: nn.Module, *inputs: Tensor) -> Tensor:
        if isinstance(module, nn.BatchNorm2d) and module.training:
            return self._batchnorm(module, *inputs)
        output: Tensor = module(*inputs)
        return output

    def _batchnorm(self, norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
        """BatchNorm over the batch of all processes, whose shares have one size: (N, C, H, W), same.

        torch's SyncBatchNorm computes on GPUs alone. The mean is taken first: a variance from sums of squares would
        lose digits. torch's kernel for channels-last images on a CPU does lose some, and one process that uses it
        differs by that (`tests/test_processes.py`).
        """
        values = x.float() if x.dtype == torch.bfloat16 else x
        mean = self._total(values.mean((0, 2, 3))) / self.count  # (C,)
        centred = values - mean[:, None, None]
        variance = self._total(centred.square().mean((0, 2, 3))) / self.count  # (C,)
        if norm.running_mean is not None and norm.running_var is not None and norm.num_batches_tracked is not None:
            norm.num_batches_tracked += 1
            n = values.numel() // values.shape[1] * self.count
            momentum = 1 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
            norm.running_mean.lerp_(mean.detach(), momentum)
            norm.running_var.lerp_(variance.detach() * (n / (n - 1)), momentum)
        normed = centred * torch.rsqrt(variance + norm.eps)[:, None, None]
        if norm.affine:
            normed = normed * norm.weight[:, None, None] + norm.bias[:, None, None]
        return normed.to(x.dtype)

    def _total(self, value: Tensor) -> Tensor:
        if self.count == 1:
            return value
        total: Tensor = _Total.apply(value)
        return total


class _Total(torch.autograd.Function):
    """The sum over all processes. Each loss depends on every share through it, so its gradient is summed too."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        distributed.all_reduce(total)
        return total


ALONE = Processes()


@contextmanager
def joined() -> Iterator[Processes]:
    """The processes that `torchrun` started with this one, connected until the end; `ALONE` without it.

    On GPUs each process takes the one of its place on its machine. Raises ValueError where it was started otherwise
    and cannot connect.
    """
    rank, count = launched()
    if count == 1:
        yield ALONE
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and distributed.is_nccl_available() else "gloo"
    try:
        distributed.init_process_group(backend, timeout=_PATIENCE)
    except (ValueError, RuntimeError) as error:
        raise ValueError(
            f"the {count} processes cannot connect ({str(error).splitlines()[0]}); start them with `torchrun`."
        ) from None
    try:
        yield Processes(rank, count)
    finally:
        distributed.destroy_process_group()
