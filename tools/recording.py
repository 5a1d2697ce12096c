"""Runs the commands of a Markdown page in a fresh clone, and writes what they print into the page.

In each block ```console, a line that starts with ``$ `` is a command, and what follows, up to the
next command, is what it prints. All commands are typed into one shell, in the root of a new clone
of this repository's last commit.

    python tools/recording.py docs/tutorials/recording.md --data DIR

DIR becomes ``data`` in the clone. Of what pip prints, the last line stays.
"""

import argparse
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from textwrap import fill

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.M | re.S)
END = "recording-end-of-command"
WIDTH = "80"


class Shell:
    """A shell that is typed into, command by command."""

    def __init__(self, folder: Path) -> None:
        kept = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "PYTHONPATH")}
        self.process = subprocess.Popen(
            ["bash", "--norc"], cwd=folder, text=True, errors="replace",
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**kept, "COLUMNS": WIDTH, "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        )  # fmt: skip

    def run(self, command: str) -> str:
        """What a command prints, and its exit code below where it is not 0."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(f"{command}\nprintf '\\n{END} %s\\n' $?\n")
        self.process.stdin.flush()
        lines: list[str] = []
        for line in self.process.stdout:
            if line.startswith(END):
                text = "\n".join(lines).rstrip()
                code = int(line.split()[1])
                return text if code == 0 else f"{text}\n(exit code {code})"
            print(line, end="", flush=True)
            lines.append(line.rstrip())
        raise SystemExit(f"The shell ended in: {command}")


def recorded(page: str, shell: Shell) -> str:
    """The page with what its commands print now."""

    def block(match: re.Match[str]) -> str:
        return f"```console\n{''.join(_typed(match[1], shell))}```"

    return BLOCK.sub(block, page)


def _typed(block: str, shell: Shell) -> Iterator[str]:
    for command in (line[2:] for line in block.splitlines() if line.startswith("$ ")):
        print(f"$ {command}", flush=True)
        shown = shell.run(command)
        if "pip install" in command:
            shown = f"...\n{fill(shown.splitlines()[-1], int(WIDTH), break_on_hyphens=False)}"
        yield f"$ {command}\n" + (f"{shown}\n" if shown else "")


def main() -> None:
    """Records a page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("--data", type=Path, help="a folder of data sets, for the commands")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "dd"
        subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
        if arguments.data is not None:
            (clone / "data").symlink_to(arguments.data.resolve())
        text = recorded(arguments.page.read_text(), Shell(clone))
    if str(clone) in text:
        raise SystemExit(f"What the commands print names {clone}; nothing was written.")
    arguments.page.write_text(text)


if __name__ == "__main__":
    main()
