"""The official NCFM code's iteration, run from a checkout in a single CPU process.

Every computation is the checkout's own: this module builds its objects and calls them in the order
of its ``Condenser.condense``. Left out, in its favour: progress bar, log, plots, saved images, and
the synchronisation of metrics between processes.
"""

import random
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from stepbench import workload as w
from stepbench.checkout import Checkout

_ALL_SYNTHETIC = 100_000  # the bound that Condenser.condense asks its synthetic loader for


class OfficialSide:
    """One workload of the official code, ready to run iteration by iteration.

    Args:
        checkout: The official repository, its modules loaded.
        work: The workload.
        loader: ``"async"`` draws batches through its AsyncLoader threads; ``"direct"`` draws the
            same batches without them, which is no slower and needs less memory.
    """

    def __init__(self, checkout: Checkout, work: w.Workload, loader: str) -> None:
        import torch

        random.seed(w.SEED)
        np.random.seed(w.SEED)
        torch.manual_seed(w.SEED)
        self._torch = torch
        self._utils = checkout.load("utils.utils")
        self._folder = tempfile.TemporaryDirectory(prefix="official-pool-")
        self._args = arguments(checkout, work)
        self._args.pretrain_dir = self._folder.name
        self._init, self._interval, self._final = self._utils.get_feature_extractor(self._args)
        self._write_pool()
        pixels, labels = w.random_images(work)
        self._iteration = Iteration(checkout, self._args, work, pixels, labels, loader)
        self.summary = f"float32, eager, {loader} batches, commit {checkout.commit()[:7]}"

    def step(self, iteration: int) -> None:
        """Run one iteration of ``Condenser.condense``; its number plays no role there."""
        del iteration
        self._init, self._final, self._interval = self._utils.update_feature_extractor(
            self._args, self._init, self._final, self._interval, a=0, b=1
        )
        self._iteration.run(self._interval, self._final)

    def _write_pool(self) -> None:
        """Store random weights as its pretraining names them; an iteration reads two files."""
        for number in range(w.EXTRACTORS):
            for kind in ("init", "trained"):
                weights = self._utils.get_feature_extractor(self._args)[0].state_dict()
                path = Path(self._folder.name) / f"premodel{number}_{kind}.pth.tar"
                self._torch.save(weights, path)


class Iteration:
    """What ``Condenser.condense`` does in an iteration once the extractors are chosen.

    Args:
        checkout: The official repository, its modules loaded.
        args: From `arguments`.
        work: The workload.
        pixels: Real images, uint8 of shape (n, channels, size, size).
        labels: Their classes, shape (n,).
        loader: See `OfficialSide`.

    Attributes:
        condenser: Its ``Condenser``; ``condenser.data`` holds the synthetic images.
    """

    def __init__(
        self,
        checkout: Checkout,
        args: SimpleNamespace,
        work: w.Workload,
        pixels: Any,
        labels: Any,
        loader: str = "direct",
    ) -> None:
        import torch

        self._torch = torch
        self._args = args
        self._ncfm = checkout.load("NCFM.NCFM")
        self._losses = checkout.load("condenser.compute_loss")
        images = _real_images(checkout, work, pixels, labels)
        self.condenser = _condenser(checkout, args, images)
        self._optimizer = checkout.load("utils.utils").get_optimizer(
            "adamw", self.condenser.parameters(), lr=args.lr_img, weight_decay=5e-4
        )
        self._scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
            self._optimizer, mode="min", factor=0.5, patience=500
        )
        self._aug, _ = checkout.load("utils.diffaug").diffaug(args, device="cpu")
        self._timer = checkout.load("utils.experiment_tracker").TimingTracker(_silent)
        source: Any = checkout.load("data.dataloader").AsyncLoader
        if loader == "direct":
            source = _Direct
        self._real = source(images, args.class_list, work.real, args.device)
        self._synthetic = source(self.condenser, args.class_list, _ALL_SYNTHETIC, args.device)

    def run(self, model: Any, trained: Any, frequencies: Any = None) -> tuple[float, float]:
        """Run the iteration.

        Args:
            model: Network that features are matched in.
            trained: Network of the calibration loss.
            frequencies: Called with the device once a class, it gives the frequencies of shape
                (frequencies, features), in the place of its sampling network; by default its
                loss function draws them.

        Returns:
            Its matching and calibration loss, each summed over the classes.
        """
        synthetic = self.condenser
        synthetic.data.data = self._torch.clamp(synthetic.data.data, min=0.0, max=1.0)
        shared = {
            "sample_fn": self._synthetic.class_sample,
            "aug_fn": self._aug,
            "optim_img": self._optimizer,
            "class_list": self._args.class_list,
            "timing_tracker": self._timer,
        }
        match, _ = self._losses.compute_match_loss(
            self._args,
            loader_real=self._real,
            inner_loss_fn=self._ncfm.match_loss,
            model_interval=model,
            data_grad=synthetic.data.grad,
            sampling_net=frequencies,
            **shared,
        )
        calibration, _ = self._losses.compute_calib_loss(
            inter_loss_fn=self._ncfm.cailb_loss,
            iter_calib=1,
            model_final=trained,
            calib_weight=1,
            data_grad=synthetic.data.grad,
            **shared,
        )
        self._scheduler.step((match + calibration) / w.CLASSES)
        return match, calibration


def _real_images(checkout: Checkout, work: w.Workload, pixels: Any, labels: Any) -> Any:
    """Build its in-memory loader over float images in [0, 1], as its CIFAR-10 branch does."""
    import torch

    images = [image.clone() for image in torch.from_numpy(pixels).float().div_(255)]
    loader = checkout.load("data.dataloader").ClassMemDataLoader
    return loader(_Images(images, labels.tolist()), work.real, device="cpu")


class _Images:
    """A data set in the form that its loaders read."""

    nclass = w.CLASSES

    def __init__(self, images: list[Any], targets: list[int]) -> None:
        self._images = images
        self.targets = targets

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self._images[index], self.targets[index]


class _Direct:
    """What its AsyncLoader hands over, asked for without a thread and a queue."""

    def __init__(self, loader: Any, _class_list: list[int], count: int, _device: Any) -> None:
        self._loader = loader
        self._count = count

    def class_sample(self, label: int) -> Any:
        """Return images and labels of a class."""
        return self._loader.class_sample(label, self._count)


def _silent(*_args: Any) -> None:
    """Stand for its logger."""


def arguments(checkout: Checkout, work: w.Workload) -> SimpleNamespace:
    """Write down what its config/ipc10/cifar10.yaml and its command line would set."""
    ncfm = checkout.load("NCFM.NCFM")
    return SimpleNamespace(
        dataset="cifar10",
        nclass=w.CLASSES,
        class_list=list(range(w.CLASSES)),
        size=w.SIZE,
        nch=w.CHANNELS,
        net_type="convnet",
        norm_type="instance",
        depth=w.DEPTH,
        width=w.WIDTH / 128,
        ipc=work.ipc,
        factor=w.RHO,
        decode_type="single",
        num_freqs=work.frequencies,
        cf_loss_func=ncfm.CFLossFunc(alpha_for_loss=0.5, beta_for_loss=0.5),
        aug_type=w.AUGMENTATION,
        mixup="cut",
        num_premodel=w.EXTRACTORS,
        lr_img=0.01 * 0.1,
        rank=1,  # any rank but 0 prints nothing
        device="cpu",
        logger=_silent,
    )


def _condenser(checkout: Checkout, args: SimpleNamespace, images: Any) -> Any:
    """Build its Condenser, initialised by ``mix``; it learns its rank without a process group."""
    module = checkout.load("condenser.Condenser")
    module.dist = SimpleNamespace(get_rank=lambda: args.rank)
    condenser = module.Condenser(
        args, args.class_list, args.nch, args.size, args.size, device="cpu"
    )
    condenser.load_condensed_data(images, init_type="mix")
    return condenser
