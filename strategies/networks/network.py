"""`PretrainedNetwork`: identifies a pretrained network by its backbone, weights and input size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from strategies.data.channels import RGB, Mixing, channels_of, mixing_of, num_channels
from strategies.networks.backbones import Backbone, Stage, get_backbone, stages_at


@dataclass(frozen=True, kw_only=True)
class PretrainedNetwork:
    """Identifies a pretrained network by its backbone, weights and input. Builds and loads nothing.

    Attributes:
        backbone: Name of a row of `BACKBONES`.
        weights: `"imagenet"`, `"own"` (a user's own model), `"bundled"`, `"random"`, or the path of a weights file or
            of the `model.keras` of a run.
        image_size: Side of the square input in pixels.
        channels: Numbers of the bands of images that it takes, from 1; `()` for red, green and blue, which three bands
            are as well. For any other number, a first layer mixes the bands into red, green and blue.
        mixing: How this layer mixes them before it is trained: three rows, the shares of each band in red, green and
            blue. `()`: each is the mean of the bands.

    Example:
        >>> from strategies.networks.network import PretrainedNetwork
        >>> network = PretrainedNetwork(backbone="MobileNetV2-0.35", weights="imagenet", image_size=96)
        >>> print(network)
        MobileNetV2-0.35 at 96 px
        >>> [stage.name for stage in network.stages()][:2]
        ['stem', 'stage1']
    """

    backbone: str
    weights: str
    image_size: int
    channels: tuple[int, ...] = ()
    mixing: Mixing = ()

    def __post_init__(self) -> None:  # from JSON, they are lists
        object.__setattr__(self, "channels", tuple(self.channels))
        object.__setattr__(self, "mixing", tuple(map(tuple, self.mixing)))

    def __str__(self) -> str:
        return f"{self.backbone} at {self.image_size} px"

    @property
    def row(self) -> Backbone:
        """The row of `BACKBONES`."""
        return get_backbone(self.backbone)

    @property
    def num_channels(self) -> int:
        """Number of channels of its input."""
        return num_channels(self.channels)

    @property
    def is_of_run(self) -> bool:
        """Whether the weights are those of the trained model of a run."""
        return self.weights.endswith(".keras")

    def stages(self, *, dense: bool = True) -> tuple[Stage, ...]:
        """Returns the stages of the backbone at this input size; see `stages_at`."""
        return stages_at(self.row, self.image_size, dense=dense)

    def of(self, items: Sequence[Any]) -> PretrainedNetwork:
        """Returns the same network for the channels of items of an `ImageDataset`."""
        channels = channels_of(items)
        mixing = mixing_of(items) if num_channels(channels) != RGB else ()
        return replace(self, channels=channels, mixing=mixing)

    def at(self, image_size: int) -> PretrainedNetwork:
        """Returns the same network at another input size in pixels."""
        return replace(self, image_size=image_size)
