"""The command line ``dd-recipes``.

Exit codes: 0 done, 1 a run failed, 2 the command or its input is wrong, 130 stopped by Ctrl-C.
Nothing heavy is imported before a command needs it.
"""

from __future__ import annotations

import errno
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

import click

from dd_recipes import __version__

if TYPE_CHECKING:
    from dd_recipes.results import Results

__all__ = ["main"]


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
    if isinstance(error, MemoryError):
        return Failure("Not enough memory. Close other programs, then run the command again.", 1)
    name = type(error).__name__
    return Failure(f"{name}: {error}\n(dd-recipes --debug ... shows where it arose.)", 1)


@click.group(cls=Guarded, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dd-recipes")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def main(debug: bool) -> None:
    """Reproduce dataset-distillation papers: one command a recipe."""


@main.command("list")
def list_recipes() -> None:
    """List the recipes."""
    from dd_recipes.catalog import entries

    known = entries()
    width = max(len(entry.name) for entry in known)
    for entry in known:
        click.echo(f"{entry.name:<{width}}  {entry.title}")


@main.command()
@click.argument("recipe")
def show(recipe: str) -> None:
    """Print a recipe's settings (RECIPE: a name from 'list', or a .toml file)."""
    from dd_recipes.catalog import find
    from dd_recipes.reader import load_recipe

    entry = find(recipe)
    load_recipe(entry)
    click.echo(entry.text, nl=False)


def hardware_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --device, --precision and --compile."""
    for name, choices, text in reversed((
        ("--device", ["auto", "cpu", "cuda"], "Where to compute."),
        ("--precision", ["auto", "float32", "bfloat16"], "Type of activations."),
        ("--compile", ["auto", "on", "off"], "Use torch.compile."),
    )):  # fmt: skip
        option = click.option(
            name, type=click.Choice(choices), default="auto", show_default=True, help=text
        )
        command = option(command)
    return command


@main.command()
@click.argument("recipe")
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR",
              help="Run folder.  [default: runs/RECIPE, with -smoke for that budget]")  # fmt: skip
@click.option("--data", type=click.Path(path_type=Path), metavar="DIR",
              help="Folder of the data, where a recipe needs one.  [default: data]")  # fmt: skip
@hardware_options
@click.option("--seed", type=click.IntRange(min=0), help="Another seed than the recipe's.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE",
              help="Change a setting, as in students.epochs=100 (repeatable).")  # fmt: skip
@click.option("--budget", type=click.Choice(["full", "smoke"]), default="full", show_default=True,
              help="smoke: seconds, to see that all works; its numbers mean nothing.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
def reproduce(
    recipe: str, out: Path | None, data: Path | None, device: str, precision: str, compile: str,
    seed: int | None, overrides: tuple[str, ...], budget: Literal["full", "smoke"], as_json: bool,
) -> None:  # fmt: skip
    """Run a recipe, or go on with a run that was stopped.

    RECIPE is a name from 'list', or a .toml file. The run folder receives settings, log,
    distilled sets, figures and report; the same command again goes on where the run was.
    """
    from dd_recipes.catalog import find
    from dd_recipes.reader import load_recipe

    extra = (f"seed={seed}",) if seed is not None else ()
    chosen = load_recipe(find(recipe), budget=budget, overrides=(*overrides, *extra))
    folder = out or Path("runs") / (chosen.name if budget == "full" else f"{chosen.name}-smoke")

    from rich.console import Console

    log = Console(stderr=True)
    log.print(f"{chosen.title}\nrun folder: {folder}", markup=False, highlight=False)
    from dd_recipes.progress import showing
    from dd_recipes.runner import Hardware, reproduce

    with showing(log) as listen:
        results = reproduce(
            chosen, folder, data_root=data, listen=listen, command=_command(),
            hardware=Hardware(device, precision, compile),
        )  # fmt: skip
    _finish(results, folder, as_json=as_json)


@main.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
def report(run: Path, as_json: bool) -> None:
    """Print the table of a run folder and write its report anew."""
    from dd_core.errors import UserError
    from dd_recipes.results import Results
    from dd_recipes.runfolder import read_json

    if (run / "run.json").exists() and not (run / "results.json").exists():
        raise UserError(f"{run} has no complete method yet; give the run's command again.")
    stored = read_json(run / "results.json")
    try:
        results = Results.from_json(stored)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{run / 'results.json'} is damaged or of another version ({error!r}). The command of "
            "the run writes it anew."
        ) from None
    _finish(results, run, as_json=as_json)


def _finish(results: Results, folder: Path, *, as_json: bool) -> None:
    """Writes the report and prints the results."""
    import json

    from rich.console import Console

    from dd_recipes.report import write_report
    from dd_recipes.table import print_results

    if as_json:
        click.echo(json.dumps(results.as_json(), indent=2, ensure_ascii=False))
    else:
        print_results(results, Console())
    page = write_report(results, folder)  # last: a full disk hides no numbers
    if as_json:
        return
    click.echo(f"\nreport: {page}\nfolder: {folder} (settings, log, distilled sets, figures)")


def _command() -> list[str]:
    return ["dd-recipes", *sys.argv[1:]]


if __name__ == "__main__":
    main()
