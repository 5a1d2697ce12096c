"""Samples from files, for the command line: .npy, .npz, .csv and .pt.

Nothing that a file holds is executed: NumPy reads without pickle, torch with `weights_only=True`.
"""

import csv
import textwrap
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Sample: TypeAlias = NDArray[Any]

_MISSING = ("", "NA")
"""Fields of a .csv file that stand for a missing value, besides those that float() takes as NaN."""


def read_sample(path: Path, *, key: str | None = None, columns: str | None = None) -> Sample:
    """Read one sample: a row for each observation, or a single row of numbers.

    Args:
        path: File whose ending says its format. A .npy file is mapped, not copied into memory.
        key: Name of the array in a .npz or .pt file.
        columns: Columns to take, numbers from 0 or names of a .csv header, separated by commas.

    Returns:
        Numbers of shape (n, d) or (n,), with n >= 2.

    Raises:
        ImportError: The file needs torch, which is not installed.
        OSError: The file cannot be opened.
        ValueError: The file does not hold one sample of numbers; the message begins with its name.
    """
    suffix = path.suffix.lower()
    if suffix not in _READERS:
        known = ", ".join(_READERS)
        raise ValueError(f"{path}: the ending must say the format, and be one of {known}")
    if key is not None and suffix not in (".npz", ".pt"):
        raise ValueError(
            f"{path}: a {suffix} file holds one array without a name; leave out the key"
        )
    if suffix == ".csv":
        return _checked(path, _read_csv(path, columns))
    sample = _checked(path, _READERS[suffix](path, key))
    return sample if columns is None else _some_columns(path, sample, columns)


def _read_npy(path: Path, key: str | None) -> Sample:
    try:
        array: Sample = np.lib.format.open_memmap(path, mode="r")
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path}: not a .npy file of numbers ({_first_line(error)})") from error
    return array


def _read_npz(path: Path, key: str | None) -> Sample:
    with path.open("rb") as file:
        if not zipfile.is_zipfile(file):
            raise ValueError(f"{path}: not a .npz file, as numpy.savez makes it")
    with np.load(path, allow_pickle=False) as archive:
        name = _chosen(path, key, archive.files)
        try:
            array: Sample = archive[name]
        except (ValueError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"{path}: {name!r} is not an array of numbers ({_first_line(error)})"
            ) from error
    return array


def _read_pt(path: Path, key: str | None) -> Sample:
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            f"{path}: a .pt file needs torch, which is not installed; install it, or save the "
            f"sample as .npy"
        ) from error
    with path.open("rb") as file:
        try:
            loaded = torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises what it happens to meet in a foreign file.
            raise ValueError(
                f"{path}: not a .pt file of tensors only, as torch.save(tensor, path) makes it"
            ) from error
    if isinstance(loaded, Mapping):
        loaded = loaded[_chosen(path, key, [name for name in loaded if isinstance(name, str)])]
    elif key is not None:
        raise ValueError(f"{path}: holds one object without a name; leave out the key")
    if not isinstance(loaded, torch.Tensor):
        raise ValueError(
            f"{path}: holds a {type(loaded).__name__}; save one tensor, or a dict of them"
        )
    tensor = loaded.detach().to_dense()
    if tensor.dtype == torch.bfloat16:  # NumPy has no such numbers.
        tensor = tensor.float()
    array: Sample = tensor.numpy()
    return array


def csv_header(path: Path, columns: str | None = None) -> list[str] | None:
    """Give the names of the columns of a .csv file, or None where its first line holds numbers."""
    first, _ = _first_record(path)
    tested = first
    if columns is not None:
        tested = [first[position] for position in _positions(path, columns, first)]
    return None if all(map(_is_number, tested)) else first


def _read_csv(path: Path, columns: str | None) -> Sample:
    first, lines = _first_record(path)
    options: dict[str, Any] = {
        "delimiter": ",",
        "quotechar": '"',
        "encoding": "utf-8-sig",
        "ndmin": 2,
        "usecols": None if columns is None else _positions(path, columns, first),
        "skiprows": lines if csv_header(path, columns) else 0,
    }
    try:
        return np.loadtxt(path, **options)
    except ValueError:
        try:  # Several times slower: with missing values.
            return np.loadtxt(path, converters=_field, **options)
        except ValueError as error:
            fault = _first_fault(path, options["skiprows"], options["usecols"], len(first))
            raise ValueError(f"{path}: {fault or _first_line(error)}") from error


def _first_fault(path: Path, skipped: int, columns: list[int] | None, count: int) -> str | None:
    """Say what is wrong with the first line of a .csv file that cannot be read."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        for number, line in enumerate(file, start=1):
            if number <= skipped or not line.strip() or line.lstrip().startswith("#"):
                continue
            fields = next(csv.reader([line], skipinitialspace=True))
            if len(fields) != count and columns is None:
                return f"line {number} has {len(fields)} fields, the first has {count}"
            for column in range(count) if columns is None else columns:
                if column >= len(fields) or not _is_number(fields[column]):
                    text = repr(fields[column]) if column < len(fields) else "missing"
                    return (
                        f"line {number}, column {column} is {text}; a field must be a number or "
                        f"empty, and --columns chooses columns"
                    )
    return None


def _first_record(path: Path) -> tuple[list[str], int]:
    """Give the fields of the first line that is neither blank nor a comment, and its number."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for number, line in enumerate(file, start=1):
                if line.strip() and not line.lstrip().startswith("#"):
                    fields = next(csv.reader([line], skipinitialspace=True))
                    return [field.strip() for field in fields], number
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: not a text file in UTF-8 ({_first_line(error)})") from error
    return [], 0


def _field(text: str) -> float:
    return float("nan") if text.strip() in _MISSING else float(text)


def _is_number(text: str) -> bool:
    try:
        _field(text)
    except ValueError:
        return False
    return True


def _positions(path: Path, columns: str, first: list[str]) -> list[int]:
    """Find columns by name in the first line, or by number."""
    positions = []
    for column in (part.strip() for part in columns.split(",")):
        if column in first and not _is_number(column):
            positions.append(first.index(column))
        elif column.isdecimal() and int(column) < len(first):
            positions.append(int(column))
        else:
            names = textwrap.shorten(", ".join(first), 80)
            raise ValueError(
                f"{path}: there is no column {column!r}; the first line is {names!r}, "
                f"and numbers go from 0 to {len(first) - 1}"
            )
    return positions


def _some_columns(path: Path, sample: Sample, columns: str) -> Sample:
    count = sample.shape[1] if sample.ndim == 2 else 1
    parts = [part.strip() for part in columns.split(",")]
    if not all(part.isdecimal() and int(part) < count for part in parts):
        raise ValueError(f"{path}: --columns is {columns!r}; pass numbers from 0 to {count - 1}")
    return sample[:, [int(part) for part in parts]] if sample.ndim == 2 else sample


def _chosen(path: Path, key: str | None, names: list[str]) -> str:
    if key in names:
        return key
    if key is None and len(names) == 1:
        return names[0]
    known = ", ".join(sorted(names)) or "none"
    asked = "holds several arrays; choose one" if key is None else f"holds no array {key!r}; choose"
    if not names:
        asked = "holds no array"
    raise ValueError(f"{path}: {asked} with --key-a or --key-b; there are: {known}")


def _checked(path: Path, array: Sample) -> Sample:
    """Check that an array is one sample of numbers, and convert it to the machine's byte order."""
    if array.dtype.kind not in "iuf":
        raise ValueError(
            f"{path}: holds values of dtype {array.dtype}; a sample is made of numbers"
        )
    if array.ndim > 2:
        flat = f"a.reshape({array.shape[0]}, -1)"
        raise ValueError(
            f"{path}: holds an array of shape {array.shape}; a sample has shape (n, d) or (n,). If "
            f"the first axis counts observations, save {flat}"
        )
    if array.ndim == 0 or array.size == 0:
        raise ValueError(f"{path}: holds an array of shape {array.shape}, so no observations")
    if array.shape[0] < 2:
        raise ValueError(
            f"{path}: has 1 observation (shape {array.shape}); a two-sample test needs at least 2. "
            f"If this is a row of numbers of one feature, save it with shape ({array.size},)"
        )
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(".") or type(error).__name__


_READERS: Mapping[str, Callable[[Path, str | None], Sample]] = MappingProxyType(
    {".npy": _read_npy, ".npz": _read_npz, ".csv": _read_csv, ".pt": _read_pt}
)
"""What reads a file, by its ending."""
