"""One side in a process of its own, which trains when it is asked to."""

import os
import sys
import time
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

SIDES = MappingProxyType(
    {"ours": "dd-core", "plain": "plain PyTorch loop", "official": "official NCFM loop"}
)
IMAGES, CLASSES, BATCH = 400, 10, 128


class SideError(Exception):
    """A side cannot go on; ``code`` is the exit code."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


class Side:
    """A side in a fresh process; use it as a context manager.

    Args:
        name: A key of `SIDES`.
        threads: CPU threads.
        students: Networks trained in a turn.
        official: Checkout of the official code, for that side.
        device: ``cpu`` or ``cuda``.
    """

    def __init__(
        self, name: str, threads: int, students: int, official: Path | None, device: str
    ) -> None:
        context = get_context("spawn")
        self.name = name
        self._pipe, self._remote = context.Pipe()
        arguments = (self._remote, name, threads, students, official, device)
        self._process = context.Process(target=_serve, args=arguments, daemon=True)
        self._threads, self._device = str(threads), device

    def __enter__(self) -> Self:
        before = dict(os.environ)
        os.environ.update(OMP_NUM_THREADS=self._threads, MKL_NUM_THREADS=self._threads)
        if self._device == "cpu":
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        try:
            self._process.start()
        finally:
            os.environ.clear()
            os.environ.update(before)
        self._remote.close()
        self._answer()
        return self

    def __exit__(self, *_error: object) -> None:
        self._pipe.close()
        self._process.join(timeout=10)
        if self._process.is_alive():
            self._process.terminate()

    def train(self, epochs: int) -> tuple[int, float]:
        """Train all students from scratch for some epochs: images seen, and seconds."""
        self._pipe.send(epochs)
        images, seconds = self._answer()
        return int(images), float(seconds)

    def _answer(self) -> Any:
        try:
            error, code, value = self._pipe.recv()
        except EOFError:
            raise SideError(f"the process of {SIDES[self.name]} ended") from None
        if error:
            raise SideError(f"{SIDES[self.name]}: {error}", code)
        return value


def _serve(
    pipe: Connection, name: str, threads: int, students: int, official: Path | None, device: str
) -> None:
    """Set up a side and train when asked, until the other end is closed."""
    try:
        import torch

        from studentbench import sides

        torch.set_num_threads(threads)
        build: Callable[..., Callable[[int], None]] = getattr(sides, name)
        arguments = (students, device) if name != "official" else (students, device, official)
        train = build(*arguments)
        pipe.send((None, 0, None))
        while True:
            epochs = pipe.recv()
            start = time.perf_counter()
            train(epochs)
            if device == "cuda":
                torch.cuda.synchronize()
            pipe.send((None, 0, (students * epochs * IMAGES, time.perf_counter() - start)))
    except (EOFError, KeyboardInterrupt):
        return
    except (ImportError, FileNotFoundError) as error:
        pipe.send((str(error), 2, None))
    except Exception as error:
        print(f"{name} failed", file=sys.stderr)
        pipe.send((f"{type(error).__name__}: {error}", 1, None))
