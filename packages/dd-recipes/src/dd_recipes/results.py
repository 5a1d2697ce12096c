"""What a run measured: one row a cell, and what follows from the rows in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from dd_recipes.findings import sentences
from dd_recipes.paper import Claim, PublishedValue, Reference
from dd_recipes.rows import Row, Status, duration
from dd_recipes.verdict import Sample, Verdict, judge_claim

__all__ = ["Results", "Row", "Status", "duration", "findings"]


@dataclass(frozen=True, slots=True)
class Results:
    """A run's measurements so far.

    Attributes:
        recipe: Name of the recipe.
        title: Its title.
        variant: The variant that was measured.
        budget: ``full``, ``cpu`` or ``smoke``.
        seed: Seed of the run.
        runtime: How it was computed, one line.
        pool_seconds: Time to train all extractors; None where none were trained.
        rows: One a cell of the recipe, in its order.
        columns: Order of the table's columns.
        references: Published rows that were not measured.
        claims: The paper's claims.
        changed: What ``--set`` changed, as it was given.
    """

    recipe: str
    title: str
    variant: str
    budget: str
    seed: int
    runtime: str
    pool_seconds: float | None
    rows: tuple[Row, ...]
    columns: tuple[str, ...] = ()
    references: tuple[Reference, ...] = ()
    claims: tuple[Claim, ...] = ()
    changed: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every cell has been measured."""
        return all(row.done for row in self.rows)

    @property
    def done(self) -> tuple[Row, ...]:
        """The rows that were measured."""
        return tuple(row for row in self.rows if row.done)

    @property
    def failed(self) -> tuple[Row, ...]:
        """The rows whose cell failed."""
        return tuple(row for row in self.rows if row.status == "failed")

    @property
    def seconds(self) -> float:
        """Time of all phases together; what several cells share counts once."""
        students = sum(row.student_seconds or 0.0 for row in self.done)
        sets = {row.set or row.name: row.distill_seconds or 0.0 for row in self.done}
        whole = {(row.data, row.whole_seconds or 0.0) for row in self.done}
        shared = sum(seconds for _, seconds in whole) + (self.pool_seconds or 0.0)
        return students + sum(sets.values()) + shared

    @property
    def verdicts(self) -> tuple[tuple[Claim, Verdict], ...]:
        """Each claim with what the run says of it."""
        return tuple((claim, self._verdict(claim)) for claim in self.claims)

    def as_json(self) -> dict[str, Any]:
        """JSON-able form, with what follows from the numbers; `from_json` reads it."""
        tables = asdict(self)
        for table, row in zip(tables["rows"], self.rows, strict=True):
            mean = row.mean if row.done else None
            std = row.std if row.done and row.n > 1 else None  # nobody knows that of a single one
            table |= {"n": row.n, "mean": mean, "std": std}
        for table, (_, verdict) in zip(tables["claims"], self.verdicts, strict=True):
            table["verdict"] = asdict(verdict)
        return {"complete": self.complete, **tables, "findings": findings(self)}

    @classmethod
    def from_json(cls, tables: Mapping[str, Any]) -> Results:
        """Reads what `as_json` made."""
        known = {f.name: tables[f.name] for f in fields(cls) if f.name in tables}
        return cls(**{
            **known,
            "columns": tuple(tables["columns"]),
            "changed": tuple(tables.get("changed", ())),
            "rows": tuple(_row(table) for table in tables["rows"]),
            "references": tuple(Reference(**table) for table in tables["references"]),
            "claims": tuple(_known(Claim, table) for table in tables["claims"]),
        })  # fmt: skip

    def _verdict(self, claim: Claim) -> Verdict:
        rows = {row.name: row for row in self.rows}
        cell = rows.get(claim.cell)
        if cell is None:
            return judge_claim(claim.difference, None, None)
        against: Sample | None
        if claim.against.partition(":")[0] == "references":
            against = self._reference(cell, claim.against.partition(":")[2])
        else:
            other = rows.get(claim.against)
            against = other.sample if other is not None else None
        return judge_claim(
            claim.difference, cell.sample, against, unit=cell.unit, sense=claim.sense,
            reason=self._incomparable,
        )  # fmt: skip

    @property
    def _incomparable(self) -> str:
        """Why a claim, which is of full runs, cannot be judged; or nothing."""
        if self.budget != "full":
            return f"{self.budget} budget"
        return "changed by --set" if self.changed else ""

    def _reference(self, cell: Row, row: str) -> Sample | None:
        """The published value of a row in the cell's column; of no row, the best one."""
        found = [r for r in self.references if r.column == cell.column and row in ("", r.row)]
        if not found:
            return None
        means = [each.mean for each in found]
        return Sample(max(means) if cell.unit in ("%", "rho") else min(means))


def findings(results: Results) -> list[str]:
    """What the run bought, in sentences computed from its numbers."""
    return sentences(results.done)


def _known(kind: Any, table: Mapping[str, Any]) -> Any:
    """A dataclass from a table that may say more, or less than a later version knows."""
    return kind(**{field.name: table[field.name] for field in fields(kind) if field.name in table})


def _row(table: Mapping[str, Any]) -> Row:
    published, verdict = table["published"], table["verdict"]
    row: Row = _known(Row, {
        **table,
        "last": tuple(table["last"]),
        "best": tuple(table["best"]),
        "curve": tuple((x, tuple(values)) for x, values in table["curve"]),
        "published": PublishedValue(**published) if published else None,
        "verdict": Verdict(**verdict) if verdict else None,
    })  # fmt: skip
    return row
