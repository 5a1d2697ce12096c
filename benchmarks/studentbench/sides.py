"""The sides: each builds what it needs and gives back a function that trains for some epochs."""

import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from studentbench.worker import BATCH, CLASSES, IMAGES

SIZE, WIDTH, DEPTH, SEED = 32, 128, 3, 20_250_220
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)


def images() -> tuple[Tensor, Tensor]:
    """400 decoded images from 0 to 1 and their labels: noise, which costs as much as any."""
    draws = torch.Generator().manual_seed(SEED)
    pixels = torch.rand(IMAGES, 3, SIZE, SIZE, generator=draws)
    return pixels, torch.arange(IMAGES) % CLASSES


def normalized(pixels: Tensor) -> Tensor:
    """Pixels less the mean, divided by the deviation."""
    mean, std = (torch.tensor(value).view(3, 1, 1) for value in (MEAN, STD))
    return (pixels - mean) / std


def ours(students: int, device: str) -> Callable[[int], None]:
    """`dd_core.evaluate` with NCFM's students, one test image a class."""
    from dd_core import (
        DistilledSet,
        LabeledImages,
        NetworkSettings,
        StudentSettings,
        choose_runtime,
        evaluate,
    )

    runtime = choose_runtime(device, threads=torch.get_num_threads())
    pixels, labels = images()
    names = tuple(map(str, range(CLASSES)))
    data = DistilledSet(pixels, labels, 1, MEAN, STD, names)
    few = (pixels[:CLASSES] * 255).to(torch.uint8)
    test = LabeledImages(few, torch.arange(CLASSES), MEAN, STD, names)

    def train(epochs: int) -> None:
        folder = tempfile.mkdtemp(prefix="students-")
        settings = StudentSettings(
            students=students, epochs=epochs, batch_size=BATCH, evaluations=1
        )
        evaluate(
            data, test, NetworkSettings(), settings, folder=folder, seed=0, runtime=runtime,
            workers="auto" if device == "cpu" else students,
        )  # fmt: skip
        shutil.rmtree(folder)

    return train


def plain(students: int, device: str) -> Callable[[int], None]:
    """What one writes without a library: float32, a DataLoader, random flips and crops, AdamW."""
    pixels, labels = images()
    data = TensorDataset(normalized(pixels), labels)

    def network() -> nn.Module:
        layers: list[nn.Module] = []
        for channels in (3, *[WIDTH] * (DEPTH - 1)):
            layers += [
                nn.Conv2d(channels, WIDTH, 3, padding=1), nn.GroupNorm(WIDTH, WIDTH), nn.ReLU(),
                nn.AvgPool2d(2),
            ]  # fmt: skip
        return nn.Sequential(
            *layers, nn.Flatten(), nn.Linear(WIDTH * (SIZE >> DEPTH) ** 2, CLASSES)
        )

    def augmented(x: Tensor) -> Tensor:
        if torch.rand(()) < 0.5:
            x = x.flip(3)
        top, left = torch.randint(0, 9, (2,)).tolist()
        return nn.functional.pad(x, (4, 4, 4, 4))[:, :, top : top + SIZE, left : left + SIZE]

    def train(epochs: int) -> None:
        for _ in range(students):
            model = network().to(device)
            optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
            loader = DataLoader(data, BATCH, shuffle=True)
            for _ in range(epochs):
                for x, y in loader:
                    x, y = x.to(device), y.to(device)
                    optimizer.zero_grad()
                    nn.functional.cross_entropy(model(augmented(x)), y).backward()
                    optimizer.step()

    return train


def official(students: int, device: str, root: Path) -> Callable[[int], None]:
    """`train_epoch` of the official code, with its network, augmentation and CutMix.

    Left out in its favour: the synchronisation between processes, worker processes of the loader,
    logs and tests.
    """
    from stepbench.checkout import Checkout

    checkout = Checkout(root)
    checkout.load_all()
    loop = checkout.load("utils.train_val")
    loop.sync_distributed_metric = _unchanged
    loop.random_indices = partial(loop.random_indices, device=device)
    if device == "cpu":
        Tensor.cuda = _unchanged  # type: ignore[assignment,method-assign]
    augmentation = checkout.load("utils.diffaug").DiffAug(
        strategy="color_crop_cutout_flip_scale_rotate", batch=False
    )
    convnet = checkout.load("models.convnet").ConvNet
    args = SimpleNamespace(mix_p=0.5, beta=1.0, nclass=CLASSES)
    pixels, labels = images()
    data = TensorDataset(normalized(pixels), labels)
    criterion = nn.CrossEntropyLoss()

    def train(epochs: int) -> None:
        for _ in range(students):
            model = convnet(CLASSES, net_depth=DEPTH, net_width=WIDTH, im_size=(SIZE, SIZE))
            model = model.to(device)
            optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
            loader = DataLoader(data, BATCH, shuffle=True)
            for epoch in range(epochs):
                loop.train_epoch(
                    args, loader, model, criterion, optimizer, epoch, augmentation, mixup="cut"
                )

    return train


def _unchanged(value: Any, *_args: Any, **_options: Any) -> Any:
    return value
