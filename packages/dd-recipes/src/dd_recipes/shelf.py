"""Data sets of a run: each is read once, and the last ones used stay in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from dd_core.errors import DataError
from dd_core.events import Listener
from dd_core.images import ImageData
from dd_recipes.find_data import Found
from dd_recipes.recipe import DataSource
from dd_recipes.sources import find_data, load_data

__all__ = ["Shelf"]

_KEPT_BYTES = 2 * 10**9


@dataclass
class Shelf:
    """Reads data sets when they are needed.

    Attributes:
        root: Folder given by ``--data``.
        listen: Receives progress of reading.
        mixed: Whether some cells take the images of the package and others do not; the folder is
            then for these others.
    """

    root: Path | None
    listen: Listener
    mixed: bool = False
    _kept: dict[DataSource, ImageData] = field(default_factory=dict)
    _names: dict[DataSource, str] = field(default_factory=dict)

    def look(self, source: DataSource) -> Found:
        """What a look at the folder of a data set says; its problem, and how to get it."""
        try:
            return find_data(source, self.root_of(source))
        except DataError as error:
            return Found(source.source, "incomplete", problem=str(error))

    def load(self, source: DataSource) -> ImageData:
        """The data set.

        Raises:
            DataError: It cannot be read.
        """
        data = self._kept.pop(source, None) or load_data(source, self.root_of(source), self.listen)
        self._kept[source] = data  # the last one used stands last
        while len(self._kept) > 1 and sum(map(_in_memory, self._kept.values())) > _KEPT_BYTES:
            del self._kept[next(iter(self._kept))]
        return data

    def root_of(self, source: DataSource) -> Path | None:
        """The folder of the data sets, for this one."""
        return None if self.mixed and source.source == "embedded" else self.root

    def known(self, source: DataSource) -> str | None:
        """What `images` gave for a data set; None where it was not asked."""
        return self._names.get(source)

    def images(self, source: DataSource) -> str:
        """What identifies its images: beginnings of the hashes of training and test images."""
        if source not in self._names:
            data = self.load(source)
            prints = (part.fingerprint()[:16] for part in (data.train, data.test))
            self._names[source] = "/".join(prints)
        return self._names[source]


def _in_memory(data: ImageData) -> int:
    """Bytes of the images; those of a file that is mapped take none."""
    return sum(0 if part.stored else part.pixels.nbytes for part in (data.train, data.test))
