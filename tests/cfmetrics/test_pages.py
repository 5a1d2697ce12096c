"""The pages on cfmetrics say what is so: their code runs and prints what stands below it."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

README = ROOT / "packages/cfmetrics/README.md"

TUTORIAL = ROOT / "docs/tutorials/two-sample.md"

THEORY = ROOT / "docs/explanation/characteristic-functions.md"

TORCH = importlib.util.find_spec("torch") is not None


@pytest.fixture(scope="module")
def tool():
    """The script that runs pages."""
    spec = importlib.util.spec_from_file_location("run_page", ROOT / "tools/run_page.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # Where dataclasses look for it.
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("page", "least"), [(README, 3), (TUTORIAL, 10)])
def test_the_page_prints_what_it_says(tool, page, least, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert len(tool.blocks(page)) >= least + TORCH
    assert tool.run(page) == []
    shown = set(re.findall(r"\]\(\.\./images/([\w-]+\.png)\)", page.read_text()))
    saved = {path.name for path in tmp_path.glob("*.png")}
    assert saved <= shown and len(shown - saved) <= (0 if TORCH else 1)
    assert all((ROOT / "docs/images" / name).exists() for name in shown)


def test_the_readme_begins_with_the_example(tool):
    first = tool.blocks(README)[0]
    assert first.expected and len(first.code.splitlines()) <= 7


def test_every_test_that_the_theory_names_is_there():
    named = set(re.findall(r"`(test_\w+\.py)`", THEORY.read_text()))
    assert len(named) > 10
    missing = [name for name in named if not (ROOT / "tests/cfmetrics" / name).exists()]
    assert not missing


PAGE = """\
# Title

```python
print(1)
```

```text
1
```

## Not to be run

```python
import no_such_package
```

## More

```python
value = 2
```

Words.

```python
print(value, "words")
```

```text
3 words
```
"""


def test_what_a_page_gets_wrong_is_found(tool, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    found = tool.blocks(page)
    assert [(block.line, block.expected) for block in found] == [
        (4, "1\n"),
        (20, None),
        (26, "3 words\n"),
    ]
    (message,) = tool.run(page)
    assert message == f"{page}:26 prints\n2 words\nbut says\n3 words\n"
    tool.run(page, update=True)
    assert page.read_text() == PAGE.replace("3 words", "2 words")
    assert tool.run(page) == []
    page.write_text(PAGE.replace("value = 2", "print(value := 2)"))
    assert len(tool.run(page)) == 2  # One prints what the page does not show.


@pytest.mark.parametrize(
    ("printed", "expected", "same"),
    [
        ("p = 0.001\n", "p = 0.001", True),
        ("p = 0.001", "p = 0.003", False),
        ("p = 0.123", "p = 0.124", True),
        ("p = 0.123", "q = 0.123", False),
        ("1000 values", "1015 values", True),
        ("1000 values", "1030 values", False),
        ("3 values", "4 values", False),
        ("75%", "70%", True),
        ("75%", "60%", False),
        ("p = 1.2e-21", "p = 3.4e-22", True),
        ("p = 1.2e-21", "p = 1.2e-25", False),
        ("-0.55", "0.55", False),
        ("1", "1 2", False),
    ],
)
def test_numbers_agree_up_to_rounding(tool, printed, expected, same):
    assert tool.agree(printed, expected) == same
