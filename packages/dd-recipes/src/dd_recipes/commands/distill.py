"""``dd-recipes distill``: a distilled set of one's own images."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dd_recipes.commands._methods import METHODS
from dd_recipes.commands._options import hardware_options, network_options, networks

if TYPE_CHECKING:
    from dd_core.artifact import DistilledSet
    from dd_core.events import Listener
    from dd_core.extractors import ExtractorPool
    from dd_core.images import ImageData
    from dd_core.runtime import Runtime
    from dd_core.settings import (
        DistillSettings,
        NetworkSettings,
        PretrainSettings,
        StudentSettings,
    )
    from dd_recipes.recipe import DataSource

__all__ = ["distill"]

_HELD_OUT = 0.1
_CHECKPOINT_SECONDS = 5.0


@click.command()
@click.option("--data", "tree", type=click.Path(path_type=Path), required=True, metavar="TREE",
              help="Images: TREE/train/CLASS/*.jpg and TREE/val or test likewise; or "
              "TREE/CLASS/*.jpg, of which a part is held out for the test.")  # fmt: skip
@click.option("--ipc", type=click.IntRange(min=1), default=10, show_default=True,
              help="Images a class.")  # fmt: skip
@click.option("--factor", type=click.IntRange(min=1), default=2, show_default=True,
              help="Views along a side of an image: 2 packs four views into each.")  # fmt: skip
@click.option("--method", type=click.Choice(list(METHODS)), default="ncfm", show_default=True,
              help="; ".join(f"{key}: {about}" for key, about in METHODS.items()))  # fmt: skip
@click.option("--iterations", type=click.IntRange(min=1), default=4000, show_default=True)
@click.option("--size", type=click.IntRange(min=0), default=0,
              help="Pixels of a side that images are brought to.  [default: as is]")  # fmt: skip
@click.option("--held-out", type=click.FloatRange(0, 1, min_open=True, max_open=True),
              help="Share of each class for the test, where TREE has no val or test.  "
              f"[default: {_HELD_OUT}]")  # fmt: skip
@network_options
@click.option("--pool-networks", type=click.IntRange(min=1), default=4, show_default=True,
              help="Networks that are trained on the images first (ncfm, csdm).")  # fmt: skip
@click.option("--pool-epochs", type=click.IntRange(min=1),
              help="Their epochs.  [default: about 800 steps]")  # fmt: skip
@click.option("--evaluate", "judged", is_flag=True,
              help="Train students on the set, and on random real images to compare.")  # fmt: skip
@click.option("--students", type=click.IntRange(min=1), default=3, show_default=True,
              help="Students of each set, with --evaluate.")  # fmt: skip
@click.option("--student-steps", type=click.IntRange(min=1), default=2000, show_default=True,
              help="Optimiser steps of each student.")  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR",
              help="Folder of states and results; the same command goes on there.  "
              "[default: runs/distill-TREE-METHOD-ipcN]")  # fmt: skip
@hardware_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def distill(
    tree: Path, ipc: int, factor: int, method: str, iterations: int, size: int,
    held_out: float | None, depth: int | None, width: int | None, norm: str | None,
    pool_networks: int, pool_epochs: int | None, judged: bool, students: int, student_steps: int,
    seed: int, out: Path | None, device: str, precision: str, compile: str, as_json: bool,
) -> None:  # fmt: skip
    """Distil images of your own into a few images a class.

    The settings are ours (`best`), as measured on CIFAR-10. The same command again goes on where it
    was; with --evaluate added it judges the set that is there.
    """
    from rich.console import Console

    from dd_core.errors import DataError
    from dd_core.runtime import choose_runtime
    from dd_recipes.commands._methods import distill_settings, pool_settings, student_settings
    from dd_recipes.progress import showing
    from dd_recipes.sources import load_data

    source = _source(tree, size, held_out)
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", tree.resolve().name)
    folder = out or Path("runs") / f"distill-{name}-{method}-ipc{ipc}"
    runtime = choose_runtime(device, precision, compile)
    with showing(Console(stderr=True, quiet=as_json)) as listen:
        try:
            data = load_data(source, None, listen)
        except DataError as error:
            raise DataError(_by_options(str(error), given=held_out is not None)) from None
        except MemoryError:
            wanted = f"--size {size}" if size else f"the images of {tree}"
            raise DataError(f"Not enough memory for {wanted}; give a smaller --size.") from None
        asked = _Asked(
            source=source, data=data,
            settings=distill_settings(method, ipc=ipc, factor=factor, iterations=iterations),
            pool=pool_settings(len(data.train), pool_networks, pool_epochs),
            network=networks(["convnet"], data.train.size, depth, width, norm)[0],
            students=student_settings(students, student_steps),
            seed=seed, folder=folder, runtime=runtime, listen=listen,
        )  # fmt: skip
        results = _run(asked, judged=judged)
    if as_json:
        click.echo(json.dumps(results, indent=2, ensure_ascii=False))
        return
    for line in _lines(results):
        click.echo(line)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is distilled, and how."""

    source: DataSource
    data: ImageData
    settings: DistillSettings
    pool: PretrainSettings
    network: NetworkSettings
    students: StudentSettings
    seed: int
    folder: Path
    runtime: Runtime
    listen: Listener

    @property
    def common(self) -> dict[str, Any]:
        """Arguments of every phase."""
        return {
            "seed": self.seed, "runtime": self.runtime, "listen": self.listen,
            "checkpoint_seconds": _CHECKPOINT_SECONDS,
        }  # fmt: skip

    @property
    def needs_pool(self) -> bool:
        """Whether trained extractors take part."""
        return self.settings.extractor == "blend"

    def identity(self) -> dict[str, Any]:
        """What the distilled set depends on."""
        return {
            "training images": self.data.train.fingerprint()[:16],
            "settings": asdict(self.settings),
            "pool": asdict(self.pool) if self.needs_pool else None,
            "network": asdict(self.network),
            "seed": self.seed,
            "precision": self.runtime.precision,
        }


def _source(tree: Path, size: int, held_out: float | None) -> DataSource:
    """The tree; where it has no test images, a part is held out."""
    from dd_core.errors import DataError
    from dd_recipes.find_data import find_data
    from dd_recipes.recipe import DataSource

    if size == 1:
        raise DataError("--size is 1, and networks halve the images; give 2 pixels or more.")
    source = DataSource("folder", size=size, path=str(tree.expanduser().resolve()))
    found = find_data(source, None)
    if found.state != "found":
        raise DataError(found.problem)
    if not found.test:
        return DataSource("folder", size=size, path=source.path, held_out=held_out or _HELD_OUT)
    if held_out is not None:
        raise DataError(f"--held-out is {held_out}, but {tree} has test images; leave it out.")
    return source


def _by_options(message: str, *, given: bool) -> str:
    """A message of the reader with the names that the arguments have here."""
    default = "" if given else " (the default)"
    share = re.sub(r"held_out is ([0-9.e-]+\d)", rf"--held-out is \1{default}", message)
    return share.replace("size=PIXELS", "--size PIXELS")


def _run(asked: _Asked, *, judged: bool) -> dict[str, Any]:
    """Distils, judges where asked to, and gives what is printed."""
    from dd_core.events import Message
    from dd_recipes.commands._folder import claim, finish

    train, test = asked.data.train, asked.data.test
    _check(asked)
    claim(asked.folder, "distillation", asked.identity())
    held = f"; {asked.source.held_out:g} of each class held out" if asked.source.held_out else ""
    asked.listen(Message(
        f"{asked.data.name}: {len(train):,} training and {len(test):,} test images of "
        f"{train.n_classes} classes, {train.size} px{held}"
    ))  # fmt: skip
    asked.listen(Message(f"{asked.runtime.summary}; folder: {asked.folder}"))
    stored, seconds = _distilled(asked)
    results: dict[str, Any] = {
        "distilled": str(asked.folder / "distilled"), "classes": stored.n_classes,
        "ipc": stored.ipc, "views": int(stored.view_counts.max()), "seconds": seconds,
    }  # fmt: skip
    if judged:
        results["accuracy"] = _judge(asked, stored)
    finish(asked.folder, "distillation", {"results": results})
    return results


def _check(asked: _Asked) -> None:
    """Finds out what cannot be made before anything is computed.

    Raises:
        UserError: A class has too few images, or the size fits the factor or the network not.
    """
    from dd_core.errors import DataError
    from dd_core.networks import network_for
    from dd_core.synthetic import initial_pixels

    train, synthetic = asked.data.train, asked.settings.synthetic
    needed = synthetic.ipc * synthetic.factor**2
    if needed > train.smallest_class:
        smallest = train.class_names[train.class_sizes.index(train.smallest_class)]
        raise DataError(
            f"--ipc {synthetic.ipc} with --factor {synthetic.factor} starts from {needed} real "
            f"images of each class, but {smallest!r} has {train.smallest_class}; give a smaller "
            "--ipc or --factor, or add images."
        )
    initial_pixels(train, synthetic, asked.seed)
    network_for(train, asked.network, 0)


def _distilled(asked: _Asked) -> tuple[DistilledSet, float]:
    """The set, stored with where its images are from, and the seconds that it took."""
    from dataclasses import replace

    from dd_core.distillation import distill

    pool = _pool(asked) if asked.needs_pool else None
    made = distill(
        asked.data.train, asked.settings, asked.network, pool=pool,
        folder=asked.folder / "distillation", phase="distill", **asked.common,
    )  # fmt: skip
    facts = asdict(asked.source) | {"path": Path(asked.source.path).name}  # nobody else's folders
    provenance = {**made.distilled.provenance, "data": facts}
    stored = replace(made.distilled, provenance=provenance)
    stored.save(asked.folder / "distilled")
    return stored, made.seconds + (pool.seconds if pool else 0.0)


def _pool(asked: _Asked) -> ExtractorPool:
    from dd_core.pretrain import pretrain_pool

    return pretrain_pool(
        asked.data.train,
        asked.network,
        asked.pool,
        folder=asked.folder / "pool",
        workers="auto",
        **asked.common,
    )


def _judge(asked: _Asked, stored: DistilledSet) -> dict[str, Any]:
    """Accuracy of students of the set, of as many real images, and of real images packed alike."""
    from dd_core.evaluation import evaluate
    from dd_core.selection import select_random
    from dd_core.settings import SyntheticSettings

    synthetic = asked.settings.synthetic
    sets = {"distilled": stored}
    whole = SyntheticSettings(ipc=synthetic.ipc, factor=1, init="real")
    sets["random real"] = select_random(asked.data.train, whole, seed=asked.seed)
    if synthetic.factor > 1:
        packed = SyntheticSettings(ipc=synthetic.ipc, factor=synthetic.factor, init="mix")
        sets["random packed"] = select_random(asked.data.train, packed, seed=asked.seed)
    return {
        name: evaluate(
            small, asked.data.test, asked.network, asked.students,
            folder=asked.folder / "students" / f"{name.replace(' ', '-')}-{_short(asked.students)}",
            phase=f"students {name}", **asked.common,
        ).as_record()
        for name, small in sets.items()
    }  # fmt: skip


def _short(students: StudentSettings) -> str:
    """What --students and --student-steps change, so that each has a folder of its own."""
    return f"{students.students}x{students.steps}"


_ABOUT = {
    "distilled": "the distilled set",
    "random real": "as many random real images",
    "random packed": "random real images, packed like the distilled ones (same storage)",
}


def _lines(results: dict[str, Any]) -> list[str]:
    from dd_recipes.commands._students import accuracy

    n, views = results["ipc"], results["views"]
    images = f"{n} image{'s' if n != 1 else ''} a class"
    held = f", each holding {views} views" if views > 1 else ""
    lines = [
        f"distilled set: {results['distilled']} ({results['classes']} classes, {images}{held})"
    ]
    for name, found in results.get("accuracy", {}).items():
        lines.append(f"  {accuracy(found['last'])}: {_ABOUT[name]}")
    if "accuracy" in results:
        lines.append("  (test images right after the last epoch, the same students for each)")
    lines.append(
        f'load it: dataset = dd_core.DistilledSet.load("{results["distilled"]}").as_dataset()'
    )
    return lines
