"""Arguments that several scripts take."""

import argparse


def whole_number(text: str) -> int:
    """A whole number from 1, for ``argparse``.

    >>> whole_number("3")
    3
    """
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)
