"""What is known of each data set without reading it: classes, sizes, and how it is had.

Imports nothing heavy: ``dd-recipes data`` prints this in an instant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

__all__ = ["SOURCES", "Kind", "Source"]

Kind = Literal["embedded", "cifar", "tiny", "subset", "folder"]


@dataclass(frozen=True, slots=True)
class Source:
    """One data set by name.

    Attributes:
        name: Its name in recipes and on the command line.
        title: Its name in words.
        kind: How it is found and read.
        classes: Number of classes; None where the images decide.
        counts: Pairs of training and test images in all that a complete copy may have; empty where
            images are not counted.
        px: Height and width; 0 where images differ or the copy decides.
        layouts: Folders below ``--data`` that are looked for, in words.
        licence: What the images may be used for.
        obtain: How the data set is had; ROOT stands for the folder of data sets.
        download: The class of torchvision.datasets that can fetch it.
        class_names: Names in the order of the labels that the papers' code gives; the WordNet ids
            of ImageNet's subsets.
        variants: Other sets of classes that go by the same name.
    """

    name: str
    title: str
    kind: Kind
    classes: int | None
    counts: tuple[tuple[int, int], ...]
    px: int
    layouts: tuple[str, ...]
    licence: str
    obtain: str
    download: str | None = None
    class_names: tuple[str, ...] = ()
    variants: tuple[tuple[str, ...], ...] = ()

    def how(self, root: Path) -> str:
        """How the data set is had, for a folder of data sets.

        Example:
            >>> SOURCES["tinyimagenet"].how(Path("/data"))[:66]
            'unpack tiny-imagenet-200.zip (Stanford, course CS231n) in /data; o'
        """
        return self.obtain.replace("ROOT", str(root))


_IMAGENET_TERMS = "ImageNet's terms: for research and teaching, not to be passed on"
_CIFAR_TERMS = "no licence is given; its authors ask to be cited (Krizhevsky 2009)"
_CIFAR_OBTAIN = (
    "dd-recipes data {0} --data ROOT --download (by torchvision), or the python or binary archive "
    "of its authors' page (Krizhevsky, University of Toronto), unpacked in ROOT"
)
_FROM_IMAGENET = (
    "ImageNet-1K (ILSVRC 2012, image-net.org, after registering) as ROOT/imagenet/train and val, "
    "with a folder for each WordNet id; the ten classes are chosen from it"
)
_FASTAI = (
    "unpack {0}2.tgz or {0}2-160.tgz (github.com/fastai/imagenette) in ROOT{1}; or {2}. The papers "
    "take all of ImageNet's images of these classes, fast.ai another split of them"
)


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_CIFAR10 = _words("airplane automobile bird cat deer dog frog horse ship truck")
_CIFAR100 = _words("""
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly
    camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile
    cup dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp
    lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom
    oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
    possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake
    spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor
    train trout tulip turtle wardrobe whale willow_tree wolf woman worm""")
_FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker",
            "Bag", "Ankle boot")  # fmt: skip

# The lists of NCFM's code (imagenet_subset/class*.txt, in its order), which are MTT's but for one
# class of ImageFruit (custard apple; MTT: Granny Smith) and one of ImageYellow (garden spider;
# MTT: black and gold garden spider).
_WNIDS = {
    "imagenette": "n01440764 n02102040 n02979186 n03000684 n03028079 n03394916 n03417042 n03425413 "
    "n03445777 n03888257",
    "imagewoof": "n02096294 n02093754 n02111889 n02088364 n02086240 n02089973 n02087394 n02115641 "
    "n02099601 n02105641",
    "imagefruit": "n07753275 n07753592 n07745940 n07747607 n07749582 n07768694 n07753113 n07720875 "
    "n07718472 n07760859",
    "imagemeow": "n02123045 n02123159 n02123394 n02123597 n02124075 n02129165 n02129604 n02128925 "
    "n02128757 n02127052",
    "imagesquawk": "n01806143 n02007558 n01818515 n02051845 n02056570 n01614925 n01843383 "
    "n01518878 n01860187 n01819313",
    "imageyellow": "n02206856 n12057211 n07753592 n07749582 n12144580 n04146614 n03530642 "
    "n02129165 n01773797 n01531178",
}
_MTT = {
    "imagefruit": ("n07760859", "n07742313"),
    "imageyellow": ("n01773797", "n01773157"),
}


def _cifar(name: str, title: str, folders: str, names: tuple[str, ...]) -> Source:
    return Source(
        name=name, title=title, kind="cifar", classes=len(names), counts=((50_000, 10_000),), px=32,
        layouts=_words(folders), licence=_CIFAR_TERMS, obtain=_CIFAR_OBTAIN.format(name),
        download=name.upper(), class_names=names,
    )  # fmt: skip


def _subset(name: str, title: str, fastai: tuple[tuple[int, int], ...] = ()) -> Source:
    names = _words(_WNIDS[name])
    ours, theirs = _MTT.get(name, ("", ""))
    variants = (tuple(theirs if wnid == ours else wnid for wnid in names),) if ours else ()
    torchvision = " (or by dd-recipes data imagenette --data ROOT --download)"
    by_fastai = _FASTAI.format(name, torchvision if name == "imagenette" else "", _FROM_IMAGENET)
    archives = (f"{name}2", f"{name}2-320", f"{name}2-160") if fastai else ()
    return Source(
        name=name, title=title, kind="subset", classes=10, counts=fastai, px=0,
        layouts=(name, *archives, "imagenet"), licence=_IMAGENET_TERMS,
        obtain=by_fastai if fastai else _FROM_IMAGENET,
        download="Imagenette" if name == "imagenette" else None,
        class_names=names, variants=variants,
    )  # fmt: skip


def _all() -> tuple[Source, ...]:
    return (
        Source(
            name="embedded", title="Fashion-MNIST subset", kind="embedded", classes=10,
            counts=((6000, 2500),), px=28, layouts=(), licence="MIT (Zalando SE)",
            obtain="part of this package", class_names=_FASHION,
        ),
        _cifar("cifar10", "CIFAR-10", "cifar-10-batches-py cifar-10-batches-bin", _CIFAR10),
        _cifar("cifar100", "CIFAR-100", "cifar-100-python cifar-100-binary", _CIFAR100),
        Source(
            name="tinyimagenet", title="Tiny ImageNet", kind="tiny", classes=200,
            counts=((100_000, 10_000),), px=64, layouts=("tiny-imagenet-200", "tinyimagenet"),
            licence=_IMAGENET_TERMS,
            obtain="unpack tiny-imagenet-200.zip (Stanford, course CS231n) in ROOT; or give a tree "
            "ROOT/tinyimagenet/train and val, with a folder for each class",
        ),
        _subset("imagenette", "ImageNette", ((9469, 3925),)),
        _subset("imagewoof", "ImageWoof", ((9025, 3929),)),
        _subset("imagefruit", "ImageFruit"),
        _subset("imagemeow", "ImageMeow"),
        _subset("imagesquawk", "ImageSquawk"),
        _subset("imageyellow", "ImageYellow"),
    )  # fmt: skip


SOURCES: Mapping[str, Source] = MappingProxyType({source.name: source for source in _all()})
"""The data sets that recipes can name, beside ``folder``."""
