"""Finds data sets in a folder by names and sizes of files alone; no image is read.

Imports nothing heavy, so that ``dd-recipes data`` answers in an instant.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dd_recipes.source_table import SOURCES, Source

if TYPE_CHECKING:
    from dd_recipes.recipe import DataSource

__all__ = [
    "DEFAULT_ROOT",
    "Found",
    "Layout",
    "State",
    "find_data",
    "has_image_folders",
    "listings",
    "own_folder",
]

DEFAULT_ROOT = Path("data")
Layout = Literal["package", "cifar", "tree", "tiny-zip", "imagenet"]
State = Literal["found", "incomplete", "missing"]
Listing = list[tuple[Path, int]]  # file and label

_ENDINGS = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
_TEST_FOLDERS = ("val", "test")
_CIFAR_PIXELS = 3 * 32 * 32  # bytes of an image of CIFAR
# Of each class of ImageNet-1K.
_TRAIN_EACH, _VAL_EACH = range(732, 1301), 50


@dataclass(frozen=True, slots=True)
class Found:
    """What was found of one data set.

    Attributes:
        name: The data set.
        state: ``found``, ``incomplete`` or ``missing``.
        path: The folder that holds it; None where it is missing.
        layout: How it lies there; None where it is missing.
        train: Training images, as counted by their files or as the layout always has.
        test: Test images, likewise.
        problem: What is wrong and how to mend it; empty where it was found.
    """

    name: str
    state: State
    path: Path | None = None
    layout: Layout | None = None
    train: int = 0
    test: int = 0
    problem: str = ""

    def as_json(self) -> dict[str, Any]:
        """JSON-able form."""
        return {
            "name": self.name, "state": self.state, "path": self.path and str(self.path),
            "layout": self.layout, "train": self.train, "test": self.test,
            "problem": self.problem,
        }  # fmt: skip


def find_data(source: DataSource | str, root: Path | None) -> Found:
    """Looks for a data set by the names and sizes of its files; contents are not read.

    Args:
        source: A recipe's data source, or the name of one in `SOURCES`.
        root: Folder given by ``--data``; None means ``data``.

    Example:
        >>> find_data("embedded", None).state
        'found'
        >>> find_data("cifar10", Path("/nowhere")).state
        'missing'
    """
    name = source if isinstance(source, str) else source.source
    if name == "folder" and not isinstance(source, str):
        return _own(own_folder(source.path, root))
    about, root = SOURCES[name], root or DEFAULT_ROOT
    if about.kind == "embedded":
        return Found(name, "found", Path(__file__).parent / "assets", "package", *about.counts[0])
    checks: dict[str, Callable[[Source, Path], Found | None]] = {
        "cifar": _cifar, "tiny": _tiny, "subset": _subset,
    }  # fmt: skip
    found = [f for place in _places(about, root) if (f := checks[about.kind](about, place))]
    complete = [f for f in found if f.state == "found"]
    if about.kind == "cifar":  # its reader takes the first copy
        complete = found[:1]
    if found:
        return (complete or found)[0]
    looked = ", ".join(about.layouts)
    return Found(
        name, "missing",
        problem=f"{about.title} was not found under {root} (looked for {looked}). "
        f"To get it: {about.how(root)}.",
    )  # fmt: skip


def own_folder(path: str, root: Path | None) -> Path:
    """The tree of a ``folder`` source: a relative path starts at ``--data`` where that is given."""
    given = Path(path).expanduser()
    return given if root is None else root / given


def listings(source: Source, found: Found) -> tuple[list[str], dict[str, Listing]]:
    """Class names, and files with labels, of the layouts that are no plain trees.

    Both parts are in the order that a tree of the same images has.
    """
    path = _known(found)
    if found.layout == "tiny-zip":
        names = _class_folders(path / "train")
        label = {name: i for i, name in enumerate(names)}
        val = sorted((label[wnid], file) for file, wnid in _annotated(path / "val"))
        return names, {
            "train": _labelled(path / "train", names),
            "test": [(file, i) for i, file in val],
        }
    names = sorted(source.class_names)
    test = _test_folder(path) or "val"
    return names, {
        "train": _labelled(path / "train", names),
        "test": _labelled(path / test, names),
    }


def _known(found: Found) -> Path:
    if found.path is None:
        raise ValueError(f"{found.name} was not found.")
    return found.path


def _places(source: Source, root: Path) -> Iterator[Path]:
    """Where a copy may be: below the root, or the root itself."""
    yield from (root / folder for folder in source.layouts)
    if root.name in source.layouts or source.kind == "cifar":
        yield root


def _cifar(source: Source, folder: Path) -> Found | None:
    parts = {"train": 50_000, "test": 10_000}
    if source.name == "cifar10":
        names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
        parts = dict.fromkeys(names, 10_000)
    labels = 2 if source.name == "cifar100" else 1
    for ending in ("", ".bin"):
        if (folder / f"{next(iter(parts))}{ending}").is_file():
            files = {folder / f"{part}{ending}": n for part, n in parts.items()}
            absent = [file.name for file in files if not file.is_file()]
            problem = f"{folder} lacks {', '.join(absent)}." if absent else ""
            for file, n in () if absent else files.items():
                problem = problem or _wrong_size(file, n, labels)
            if problem:
                problem = f"{problem} To get it again: {source.how(folder.parent)}."
                return Found(source.name, "incomplete", folder, "cifar", problem=problem)
            return Found(source.name, "found", folder, "cifar", *source.counts[0])
    return None


def _wrong_size(file: Path, images: int, labels: int) -> str:
    """That a file of CIFAR cannot hold its images; a pickled one has a little more than pixels."""
    size = file.stat().st_size
    if file.suffix == ".bin":
        right = images * (_CIFAR_PIXELS + labels)
        return "" if size == right else f"{file} has {size:,} bytes; a whole one has {right:,}."
    least = images * _CIFAR_PIXELS
    return "" if size >= least else f"{file} has {size:,} bytes; a whole one has over {least:,}."


def _tiny(source: Source, folder: Path) -> Found | None:
    if not (folder / "val" / "val_annotations.txt").is_file():
        return _tree(source, folder)
    names = _class_folders(folder / "train")
    val = _annotated(folder / "val")
    unknown = sorted({wnid for _, wnid in val} - set(names))
    absent = [file for file, _ in val if not file.is_file()]
    train = _counted(folder / "train", names)
    problem = _wrong_classes(source, folder / "train", names)
    if unknown:
        problem = f"{folder}: val_annotations.txt names {unknown[0]}, which train does not have."
    elif absent:
        problem = f"{folder}: val_annotations.txt names {absent[0].name}, which is not in val."
    test = {name: sum(wnid == name for _, wnid in val) for name in names}
    return _result(source, folder, "tiny-zip", train, test, problem)


def _subset(source: Source, folder: Path) -> Found | None:
    if folder.name != "imagenet":
        return _tree(source, folder)
    test = _test_folder(folder)
    if not (folder / "train").is_dir():
        return None
    names = sorted(source.class_names)
    inside, tested = (_counted(folder / part, names) for part in ("train", test))
    absent = [name for name in names if not (inside[name] and tested[name])]
    problem = ""
    if absent:
        problem = f"{folder} has no images of {', '.join(absent[:3])} in train and val."
    return _result(source, folder, "imagenet", inside, tested, problem)


def _tree(source: Source, folder: Path) -> Found | None:
    """A folder with train and val, each with one folder a class."""
    test = _test_folder(folder)
    if not (folder / "train").is_dir():
        return None
    names = _class_folders(folder / "train")
    problem = _wrong_classes(source, folder / "train", names)
    inside, tested = (_counted(folder / part, names) for part in ("train", test))
    beyond = sorted(set(_class_folders(folder / test)) - set(names)) if test else []
    if beyond:
        problem = problem or f"{folder / test} has a folder {beyond[0]}, which train does not have."
    return _result(source, folder, "tree", inside, tested, problem)


def _result(
    source: Source,
    folder: Path,
    layout: Layout,
    train: dict[str, int],
    test: dict[str, int],
    problem: str,
) -> Found:
    """What was found, with the first thing that is wrong."""
    totals = sum(train.values()), sum(test.values())
    imagenet = source.kind == "subset" and all(
        train[name] in _TRAIN_EACH and test[name] == _VAL_EACH for name in train
    )
    if not problem and totals not in source.counts and not imagenet:
        expected = [f"{a:,} and {b:,}" for a, b in source.counts]
        if source.kind == "subset":
            expected.append(f"ImageNet's own, 732 to 1,300 and {_VAL_EACH} of each class")
        problem = (
            f"{folder} has {totals[0]:,} training and {totals[1]:,} test images; expected are "
            f"{'; or '.join(expected)}."
        )
    if problem:
        how = source.how(folder.parent)
        problem = f"{problem} Unpack {source.title} anew. To get it: {how}."
        return Found(source.name, "incomplete", folder, layout, *totals, problem)
    return Found(source.name, "found", folder, layout, *totals)


def _wrong_classes(source: Source, folder: Path, names: list[str]) -> str:
    """What is wrong with the folders of the classes; empty where nothing is."""
    if source.class_names:
        if any(set(names) == set(known) for known in (source.class_names, *source.variants)):
            return ""
        odd = sorted(set(names) - set(source.class_names))
        wrong = f" ({', '.join(odd[:3])}{', ...' if len(odd) > 3 else ''})" if odd else ""
        expected = ", ".join(sorted(source.class_names))
        return f"{folder} has {len(names)} classes{wrong}; expected are the folders {expected}."
    if len(names) != source.classes:
        return f"{folder} has {len(names)} folders of classes; expected are {source.classes}."
    return ""


def _own(folder: Path) -> Found:
    train = folder / "train" if (folder / "train").is_dir() else folder
    names = _class_folders(train)
    n = sum(_count(train / name) for name in names)
    if not n:
        what = "has no images" if folder.exists() else "does not exist"
        text = f"{folder} {what}; give a folder with train/CLASS/*.jpg, or CLASS/*.jpg."
        return Found("folder", "missing", problem=text)
    test = _test_folder(folder) if train != folder else ""
    tested = _count(folder / test) if test else 0
    if test and not tested:
        text = f"{folder / test} is empty: add images as CLASS/*.jpg, or remove the folder."
        return Found("folder", "incomplete", problem=text)
    return Found("folder", "found", folder, "tree", n, tested)


def _test_folder(folder: Path) -> str:
    return next((name for name in _TEST_FOLDERS if (folder / name).is_dir()), "")


def _class_folders(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))


def _images(folder: Path) -> Iterator[Path]:
    return (Path(base, name) for base, name in _image_names(folder))


def _image_names(folder: Path) -> Iterator[tuple[str, str]]:
    """Folder and name of each image file; a data set has so many that paths take seconds."""
    for base, _, files in os.walk(folder):
        for name in files:
            if not name.startswith(".") and name.lower().endswith(_ENDINGS):
                yield base, name


def has_image_folders(folder: Path) -> bool:
    """Whether a folder has folders of classes with image files in one of them."""
    return any(next(_images(folder / name), None) is not None for name in _class_folders(folder))


def _count(folder: Path) -> int:
    return sum(1 for _ in _image_names(folder))


def _counted(folder: Path, names: list[str]) -> dict[str, int]:
    return {name: _count(folder / name) for name in names}


def _labelled(folder: Path, names: list[str]) -> Listing:
    return [(file, i) for i, name in enumerate(names) for file in sorted(_images(folder / name))]


def _annotated(val: Path) -> list[tuple[Path, str]]:
    """The images of the official Tiny ImageNet's val, each with its class."""
    lines = (val / "val_annotations.txt").read_text("utf-8", errors="replace").splitlines()
    rows = [line.split("\t") for line in lines]
    return [(val / "images" / row[0], row[1]) for row in rows if len(row) >= 2]
