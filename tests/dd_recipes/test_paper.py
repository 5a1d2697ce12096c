from __future__ import annotations

import pytest

from dd_recipes.paper import PublishedValue


@pytest.mark.parametrize(
    ("change", "message"),
    [({"mean": 101.0}, "percent"), ({"std": -1.0}, "negative"), ({"n": 1}, "at least 2"),
     ({"comparable": False}, "say why")],
)  # fmt: skip
def test_impossible_values_are_refused(change: dict[str, object], message: str) -> None:
    fields = {"mean": 49.5, "std": 0.3, "n": 10, "source": "Table 1", **change}
    with pytest.raises(ValueError, match=message):
        PublishedValue(**fields)  # type: ignore[arg-type]
