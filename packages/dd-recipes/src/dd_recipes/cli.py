"""The command line ``dd-recipes``.

Exit codes: 0 done, 1 a run failed, 2 the command or its input is wrong, 130 stopped by Ctrl-C.
Nothing heavy is imported before a command needs it: a command's module is imported when it is
called, and the list of commands needs none of them.
"""

from __future__ import annotations

import errno
import importlib
import traceback
from collections.abc import Mapping
from types import MappingProxyType
from typing import IO, Any

import click

from dd_recipes import __version__

__all__ = ["COMMANDS", "Guarded", "main", "translate"]

COMMANDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "list": ("listing:list_recipes", "What recipes there are, and what data they need."),
        "show": ("show:show", "A recipe's cells: every setting, and where it comes from."),
        "plan": ("plan:plan", "What would run here: cells, data, time and memory."),
        "reproduce": ("reproduce:reproduce", "Run a recipe, or go on with a run."),
        "report": ("report:report", "Print the table of a run and write its report anew."),
        "distill": ("distill:distill", "Distil images of your own."),
        "evaluate": ("evaluate:evaluate", "Train networks on a distilled set and test them."),
        "continual": ("continual:continual", "Use a distilled set as memory, class by class."),
        "search": ("search:search", "Rank networks by training them on a distilled set."),
        "export": ("export:export", "Write a distilled set as images, .npz or .pt."),
        "data": ("data:data", "Which data sets are here, and how to get the others."),
    }
)
"""The commands: module and name in ``dd_recipes.commands``, and one line of help."""


class Failure(click.ClickException):
    """An error as the user sees it: one message and an exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]

    def show(self, file: IO[Any] | None = None) -> None:
        """Prints the message on the standard error."""
        prefix = "" if self.exit_code == 130 else "Error: "
        click.echo(f"{prefix}{self.format_message()}", file=file, err=file is None)


class Guarded(click.Group):
    """A group whose commands end with one message instead of a traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of the commands, in the order of the help."""
        return [*COMMANDS, *(name for name in self.commands if name not in COMMANDS)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, from its module."""
        if cmd_name not in COMMANDS:
            return super().get_command(ctx, cmd_name)
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(f"dd_recipes.commands.{module}"), name)
        return command if isinstance(command, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the commands with their lines, without importing their modules."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command and translates what goes wrong."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, BrokenPipeError):
            raise
        except (Exception, KeyboardInterrupt) as error:
            if ctx.params.get("debug"):
                traceback.print_exc()
            raise translate(error) from None


def translate(error: BaseException) -> Failure:
    """The message and the exit code for an exception."""
    if isinstance(error, KeyboardInterrupt | click.Abort):  # before torch is imported, perhaps
        return Failure("\nStopped. Run the same command again to go on.", 130)
    from dd_core.errors import DistillationError, UserError

    if isinstance(error, UserError):
        return Failure(str(error), 2)
    if isinstance(error, DistillationError):
        return Failure(str(error), 1)
    if isinstance(error, PermissionError):
        return Failure(f"No permission: {error.filename or error}. Is the folder yours?", 2)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        where = f" ({error.filename})" if error.filename else ""
        return Failure(f"The disk is full{where}. Free some space and run the command again.", 1)
    if isinstance(error, OSError) and error.errno == errno.EROFS:
        where = f" {error.filename}" if error.filename else ""
        return Failure(
            f"Cannot write{where}: the file system is read-only. Copy the folder to one that you "
            "can write in, or give another folder.", 2,
        )  # fmt: skip
    if isinstance(error, IsADirectoryError):
        return Failure(
            f"{error.filename2 or error.filename} is a folder, and a file belongs there; remove it "
            "or give it another name, then run the command again.", 2,
        )  # fmt: skip
    if isinstance(error, MemoryError):
        return Failure("Not enough memory. Close other programs, then run the command again.", 1)
    name = type(error).__name__
    return Failure(f"{name}: {error}\n(dd-recipes --debug ... shows where it arose.)", 1)


@click.group(cls=Guarded, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dd-recipes")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def main(debug: bool) -> None:
    """Reproduce dataset-distillation papers: one command a table."""


if __name__ == "__main__":
    main()
