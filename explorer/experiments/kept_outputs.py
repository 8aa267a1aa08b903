"""Outputs of some layers in one pass, with the graph of their gradients where it is recorded."""

from collections.abc import Sequence

from torch import Tensor, nn

from explorer.architectures import Network, Recorder, describe


class KeptOutputs(Recorder):
    """The `run` of a pass that keeps the outputs of these layers alone, each under the layer's name: (N, C, H, W), also
    where a layer of an ONNX network has its channels last."""

    def __init__(self, network: Network, layers: Sequence[str]) -> None:
        super().__init__(network, kinds=())
        origins = describe(network.spec).origins
        self._modules = {layer: origins[layer].module for layer in layers}
        self._wanted = {*self._modules.values()}
        self._kept: dict[str, Tensor] = {}

    def compute(self, module: nn.Module, *inputs: object) -> Tensor:
        output = super().compute(module, *inputs)
        if (name := self.layers[module][0]) in self._wanted:
            self._kept[name] = output.movedim(-1, 1) if getattr(module, "channels_last", False) else output
        return output

    def __getitem__(self, layer: str) -> Tensor:
        """After the pass."""
        return self._kept[self._modules[layer]]
