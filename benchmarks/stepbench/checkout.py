"""The official repository's modules, imported from a checkout that stays where it is."""

import importlib
import importlib.machinery
import importlib.util
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

_MODULES = (
    "data.augment",
    "models.convnet",
    "NCFM.NCFM",
    "utils.utils",
    "utils.diffaug",
    "utils.experiment_tracker",
    "data.dataloader",
    "condenser.decode",
    "condenser.compute_loss",
    "condenser.Condenser",
)
# Packages that the modules import and one iteration does not use, with the names that they import.
_UNUSED: dict[str, dict[str, tuple[str, ...]]] = {
    "efficientnet_pytorch": {"": ("EfficientNet",)},
    "matplotlib": {"": ("use",), ".pyplot": ()},
    "torchvision": {
        ".datasets": ("DatasetFolder", "folder"),
        ".transforms": (),
        ".utils": ("save_image",),
    },
    "tqdm": {"": ("tqdm",)},
}


class Checkout:
    """The official repository in a folder.

    Where ``efficientnet_pytorch``, ``matplotlib``, ``torchvision`` or ``tqdm`` is not installed, an
    empty stand-in is imported instead: one iteration uses none of them, but for torchvision's
    ``Compose``, for which the checkout has its own.

    Args:
        root: Root of the checkout.

    Raises:
        FileNotFoundError: The folder is not such a checkout; the message names what is missing.

    >>> Checkout(Path("no-such-folder"))
    Traceback (most recent call last):
        ...
    FileNotFoundError: no-such-folder is not a checkout of the official NCFM repository: \
it has no data/augment.py
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        for module in _MODULES:
            part = module.replace(".", "/") + ".py"
            if not (self.root / part).is_file():
                raise FileNotFoundError(
                    f"{root} is not a checkout of the official NCFM repository: it has no {part}"
                )

    def load(self, name: str) -> Any:
        """Import one of the modules by its dotted name.

        Raises:
            ImportError: A package that it needs is absent, or another one hides the module.
        """
        if str(self.root) not in sys.path:
            sys.path.insert(0, str(self.root))
        module = importlib.import_module(name)
        if not Path(str(module.__file__)).is_relative_to(self.root):
            raise ImportError(f"{name} was imported from {module.__file__}, not from {self.root}")
        return module

    def load_all(self) -> None:
        """Import everything that one iteration needs."""
        for package in _UNUSED:
            if package not in sys.modules and importlib.util.find_spec(package) is None:
                _stand_in(package)
                if package == "torchvision":
                    compose = self.load("data.augment").Compose
                    sys.modules["torchvision.transforms"].__dict__["Compose"] = compose
        for name in _MODULES:
            self.load(name)

    def commit(self) -> str:
        """Return the commit that is checked out, or "unknown" where git cannot tell."""
        command = ["git", "-C", str(self.root), "rev-parse", "HEAD"]
        try:
            answer = subprocess.run(command, capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            return "unknown"
        return answer.stdout.strip()


class _Unused:
    """Stands for a function or class that is imported but not used."""

    default_loader = None

    def __init__(self, *_args: Any, **_options: Any) -> None:
        pass


def _stand_in(package: str) -> None:
    """Register an empty package with the modules and names that the checkout imports from it."""
    for suffix, names in {"": (), **_UNUSED[package]}.items():
        module = types.ModuleType(package + suffix)
        module.__spec__ = importlib.machinery.ModuleSpec(module.__name__, None)
        module.__dict__.update(dict.fromkeys(names, _Unused))
        sys.modules[module.__name__] = module
        if suffix:
            setattr(sys.modules[package], suffix[1:], module)
