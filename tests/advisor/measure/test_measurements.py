"""Everything that is measured before anything is decided."""

from advisor.measure.measurements import measure
from strategies.data.loading import load_dataset
from strategies.networks.network import PretrainedNetwork


def test_measurements_are_of_one_split_and_one_network(photos, pretrained_weights):
    """The dataset that comes back is the one that was profiled, every image with its split."""
    dataset = load_dataset(photos)
    network = PretrainedNetwork(backbone="MobileNetV2-0.35", weights="imagenet", image_size=32)
    found = measure(dataset, network, cache=False)
    assert found.network is network
    assert None not in found.dataset.split
    assert found.profile.num_images == len(found.dataset) == 40
    assert found.profile.effective_num_images == found.similarity.num_images == found.depth_curve.num_images
    assert found.learning_curve.accuracy[-1] == found.depth_curve.accuracy[-1]
    assert found.learning_curve.num_images == found.depth_curve.num_images
