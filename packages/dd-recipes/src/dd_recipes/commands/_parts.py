"""The parts of ``dd-recipes evaluate``: what is measured of one set."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dd_core.artifact import DistilledSet
    from dd_core.evaluation.set_content import SetContent
    from dd_core.evaluation.students import Evaluation
    from dd_core.events import Listener
    from dd_core.images import ImageData
    from dd_core.runtime import Runtime
    from dd_core.settings import NetworkSettings, StudentSettings

__all__ = ["Asked", "Parts", "budget_lengths", "protocol", "together"]

_STEPS = 5
_GRID = ((1, 2, 3), (32, 64, 128), ("instance", "batch", "none"))
_VALIDATION = 0.1
_NEIGHBOURS = 5
_OF_A_NETWORK = ("budget", "continual", "scores")
_WITH_WHOLE = {"scores", "search"}  # parts that --whole-epochs completes


def protocol(
    name: str, students: int | None, epochs: int | None, steps: int | None
) -> StudentSettings:
    """A protocol's settings with what the options say otherwise."""
    from dd_core.evaluation import student_protocol

    said = {"students": students, "epochs": epochs, "steps": steps}
    return student_protocol(name, **{key: value for key, value in said.items() if value})


def budget_lengths(epochs: int) -> tuple[int, ...]:
    """Shorter trainings beside one of some epochs: about a tenth and a third of it.

    Example:
        >>> budget_lengths(300), budget_lengths(2)
        ((30, 100), (1,))
    """
    return tuple(sorted({max(1, epochs // 10), max(1, epochs // 3)} - {epochs}))


@dataclass(frozen=True, slots=True)
class Asked:
    """What is evaluated, and how.

    Attributes:
        stored: The set.
        networks: Architectures of the students; the first is that of all parts.
        settings: The protocol.
        seed: Seed of everything.
        runtime: Device and precision.
        also: Further parts, by the names of ``--also``.
        whole_epochs: Passes over the whole training set, where that is wanted.
    """

    stored: DistilledSet
    networks: list[NetworkSettings]
    settings: StudentSettings
    seed: int
    runtime: Runtime
    also: frozenset[str]
    whole_epochs: int | None

    @property
    def whole(self) -> StudentSettings | None:
        """One student of the whole training set, with the set's protocol but for its length."""
        if self.whole_epochs is None:
            return None
        return replace(self.settings, students=1, steps=0, epochs=self.whole_epochs, evaluations=1)

    def identity(self, data: ImageData) -> dict[str, Any]:
        """What all parts depend on; each part has a folder by what it depends on besides."""
        return {
            "distilled set": self.stored.fingerprint()[:16],
            "training images": data.train.fingerprint()[:16],
            "test images": data.test.fingerprint()[:16],
            "students": asdict(self.settings),
            "seed": self.seed,
            "precision": self.runtime.precision,
        }

    def require_images(self, data: ImageData) -> None:
        """Refuses a part that the training images are too few for, before anything is trained.

        Raises:
            DataError: A class has a single image, and the search holds one out.
        """
        from dd_core.errors import DataError

        least = data.train.class_sizes.index(data.train.smallest_class)
        if "search" in self.also and data.train.smallest_class < 2:
            raise DataError(
                f"class {data.train.class_names[least]!r} has 1 training image, and the search "
                "holds one of each class out; leave out --also search, or give more images."
            )

    def all_networks(self) -> list[NetworkSettings]:
        """The architectures that are asked for, and the usual ones where they are."""
        from dd_core.evaluation import cross_architectures

        usual = cross_architectures(int(self.stored.images.shape[-1])).values()
        return list(
            dict.fromkeys([*self.networks, *(usual if "architectures" in self.also else ())])
        )


class Parts:
    """Measures the parts one after the other, each in a folder of its own, so that it can go on.

    Args:
        asked: What is evaluated.
        data: The real images.
        folder: The folder of the work.
        listen: Receives events.
    """

    def __init__(self, asked: Asked, data: ImageData, folder: Path, listen: Listener) -> None:
        self._asked, self._data, self._folder = asked, data, folder
        self._common: dict[str, Any] = {
            "seed": asked.seed, "runtime": asked.runtime, "listen": listen
        }  # fmt: skip
        self._students: dict[NetworkSettings, Evaluation] = {}  # of the set, by their network

    def run(self) -> dict[str, Any]:
        """All parts that are asked for, but for `content`, as JSON has them."""
        rows = self._rows()
        network = self._asked.networks[0]
        found: dict[str, Any] = {"rows": list(rows.values()), "network": rows[network]["network"]}
        for name, part in (
            ("budget", self._budget), ("continual", self._continual), ("search", self._search),
            ("scores", self._scores),
        ):  # fmt: skip
            if name in self._asked.also:
                found[name] = part(network)
        if "budget" in found:
            full = rows[network]
            summed = {name: full[name] for name in ("mean", "std", "n", "last")}
            found["budget"].append({"epochs": self._asked.settings.epochs, **summed})
        return found

    def content(self) -> tuple[SetContent | None, str]:
        """The images beside real ones, as it is stored or compared now; else why there is none."""
        from dd_core.checkpoint import fingerprint, load_record, save_record
        from dd_core.errors import DataError
        from dd_core.evaluation.content import compare_with_real
        from dd_core.evaluation.set_content import SetContent
        from dd_core.events import Message

        asked, train = self._asked, self._data.train
        path, key = self._folder / "content.json", fingerprint(asked.identity(self._data))
        if (stored := load_record(path, key=key)) is not None:
            return SetContent.from_record(stored, train), ""
        neighbours = max(1, min(_NEIGHBOURS, train.smallest_class // 2 - 1))
        try:
            found = compare_with_real(asked.stored, train, n_neighbours=neighbours, **self._common)
        except DataError as error:  # a small training set is no reason to lose the rest
            self._common["listen"](Message(f"not compared with real images: {error}"))
            return None, str(error)
        save_record(path, found.as_record(), key=key)
        return found, ""

    def _rows(self) -> dict[NetworkSettings, dict[str, Any]]:
        from dd_core.evaluation import evaluate_architectures
        from dd_core.networks import describe_network

        networks = {_slug(describe_network(each)): each for each in self._asked.all_networks()}
        found = evaluate_architectures(
            self._asked.stored, self._data.test, networks, self._asked.settings,
            folder=self._folder, **self._common,
        )  # fmt: skip
        self._students = {networks[name]: each for name, each in found.items()}
        return {
            network: {"network": describe_network(network), **each.as_record()}
            for network, each in self._students.items()
        }

    def _budget(self, network: NetworkSettings) -> list[dict[str, Any]]:
        from dd_core.evaluation import budget_curve

        lengths = budget_lengths(self._asked.settings.epochs)
        if not lengths:
            return []
        found = budget_curve(
            self._asked.stored, self._data.test, network, self._asked.settings, lengths,
            folder=self._folder / "budget" / self._name(network), **self._common,
        )  # fmt: skip
        return [
            {"epochs": epochs, "mean": each.mean, "std": each.as_record()["std"], "n": each.n,
             "last": list(each.last)}
            for epochs, each in found.items()
        ]  # fmt: skip

    def _continual(self, network: NetworkSettings) -> dict[str, Any]:
        from dd_core.evaluation.continual import evaluate_continual

        found = evaluate_continual(
            self._asked.stored, self._data.test, network, self._asked.settings,
            n_steps=min(_STEPS, self._asked.stored.n_classes),
            folder=self._folder / "continual" / self._name(network), **self._common,
        )  # fmt: skip
        return found.as_record()

    def _search(self, network: NetworkSettings) -> dict[str, Any]:
        from dd_core.evaluation.search import architecture_grid, search_architectures

        del network  # it compares its own
        asked = self._asked
        grid = architecture_grid(*_GRID, size=int(asked.stored.images.shape[-1]))
        found = search_architectures(
            asked.stored, self._data.train, self._data.test, grid, asked.settings, asked.whole,
            held_out=_VALIDATION, folder=self._folder / "search",
            whole_folder=self._folder / "search" / f"whole-{asked.whole_epochs}", **self._common,
        )  # fmt: skip
        return self._with_whole(found.as_record())

    def _scores(self, network: NetworkSettings) -> dict[str, Any]:
        from dd_core.evaluation.robustness import robust_scores

        asked, folder = self._asked, self._folder / "scores" / self._name(network)
        found = robust_scores(
            asked.stored, self._data.train, self._data.test, network, asked.settings,
            whole=asked.whole, own=self._students[network], folder=folder,
            whole_folder=folder / f"whole-{asked.whole_epochs}", **self._common,
        )  # fmt: skip
        return self._with_whole(found.as_record())

    def _with_whole(self, record: dict[str, Any]) -> dict[str, Any]:
        """A record that compares with the whole training set, and how long that was trained on."""
        return {**record, "whole_epochs": self._asked.whole_epochs}

    def _name(self, network: NetworkSettings) -> str:
        from dd_core.networks import describe_network

        return _slug(describe_network(network))


def together(earlier: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Results of this call, and those of earlier ones in the folder that it did not repeat.

    Parts are of one network; those of another are not kept beside each other.

    Example:
        >>> first = {"network": "a", "rows": [{"network": "a", "mean": 1}], "continual": 5}
        >>> again = {"network": "a", "rows": [{"network": "b", "mean": 2}], "search": 6}
        >>> both = together(first, again)
        >>> both["continual"], both["search"], [row["network"] for row in both["rows"]]
        (5, 6, ['b', 'a'])
    """
    alike = earlier.get("network") == now.get("network")
    kept = {name: earlier[name] for name in _OF_A_NETWORK if alike and name in earlier}
    kept |= {name: earlier[name] for name in ("content", "search") if name in earlier}
    for name in _WITH_WHOLE & kept.keys() & now.keys():
        if now[name]["whole_epochs"] is None:  # asked for again, without the whole training set
            now = {**now, name: kept[name]}
    rows = list(now["rows"])
    measured = {row["network"] for row in rows}
    rows += [row for row in earlier.get("rows", []) if row["network"] not in measured]
    return {**kept, **now, "rows": rows}


def _slug(text: str) -> str:
    """Words as the name of a folder."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower())
