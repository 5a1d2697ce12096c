from __future__ import annotations

import base64
import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from dd_core.errors import UserError
from dd_recipes.catalog import find
from dd_recipes.paper import Claim, PublishedValue, Reference
from dd_recipes.reader import load_recipe
from dd_recipes.report import table, write_report
from dd_recipes.results import Results, findings
from dd_recipes.runfiles import write_json
from dd_recipes.verdict import judge

PNG = b"\x89PNG\r\n\x1a\n"


class Page(HTMLParser):
    """Collects tags with their attributes, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "img", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


@pytest.fixture(scope="module")
def folder(
    finished: tuple[Path, Results], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Results]:
    path = tmp_path_factory.mktemp("report") / "run"
    shutil.copytree(finished[0], path)
    write_report(finished[1], path)
    return path, finished[1]


@pytest.fixture(scope="module")
def page(folder: tuple[Path, Results]) -> Page:
    return Page((folder[0] / "report.html").read_text())


def test_the_page_needs_no_other_file(page: Page) -> None:
    sources = [a.get("src") or "" for _, a in page.tags if "src" in a]
    assert len(sources) == 3 + 4
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object"}
    assert [a for tag, a in page.tags if tag == "a"] == []
    assert "url(" not in page.words
    assert "@import" not in page.words


def test_every_picture_is_one_of_the_folder_and_has_words(
    page: Page, folder: tuple[Path, Results]
) -> None:
    stored = {path.read_bytes() for path in (folder[0] / "figures").glob("*.png")}
    images = [a for tag, a in page.tags if tag == "img"]
    shown = {base64.b64decode((a["src"] or "").partition(",")[2]) for a in images}
    assert shown == stored
    assert all(content.startswith(PNG) for content in shown)
    assert all(len(a["alt"] or "") > 20 for a in images)


def test_pictures_scroll_where_the_page_is_too_narrow_for_their_words(page: Page) -> None:
    before = [page.tags[i - 1] for i, (tag, _) in enumerate(page.tags) if tag == "img"]
    assert before == [("div", {"class": "scroll"})] * 7
    for picture in (a for tag, a in page.tags if tag == "img"):
        content = base64.b64decode((picture["src"] or "").partition(",")[2])
        width = int.from_bytes(content[16:20], "big")
        assert picture["style"] == f"--least: {width // 2}px"


def test_the_accuracy_is_the_first_column(page: Page, folder: tuple[Path, Results]) -> None:
    assert "cellmeasuredlast epoch (n)best epochstored" in page.words
    header = re.search(r"^\| cell \|.*", (folder[0] / "report.md").read_text(), re.M)
    assert header is not None and header[0].startswith("| cell | measured, last epoch (n) |")


def test_the_page_says_what_was_measured(page: Page, folder: tuple[Path, Results]) -> None:
    results = folder[1]
    for row in results.rows:
        assert row.row in page.words
        assert row.accuracy in page.words
    for sentence in findings(results):
        assert sentence in page.words
    assert "dd-recipes reproduce x" in page.words
    assert "[cells.set.synthetic]" in page.words
    assert "torch" in page.words
    assert results.runtime in page.words
    assert page.open == []
    assert "Dashed" not in page.words  # no published value, no line for it


def test_markdown_names_pictures_that_are_there(folder: tuple[Path, Results]) -> None:
    text = (folder[0] / "report.md").read_text()
    pictures = re.findall(r"\]\((figures/[^)]+)\)", text)
    assert len(pictures) == 7
    assert all((folder[0] / picture).is_file() for picture in pictures)
    table = [line for line in text.splitlines() if line.startswith("| ")]
    header = next(line for line in table if "measured" in line)
    for row in folder[1].rows:
        line = next(line for line in table if line.startswith(f"| {row.row} |"))
        assert line.count("|") == header.count("|")
        assert row.accuracy in line


def with_paper(folder: Path, target: Path, published: PublishedValue) -> Results:
    """A copy of the run whose last row has a published value and whose recipe has a paper."""
    shutil.copytree(folder, target)
    config = json.loads((target / "config.json").read_text())
    paper = load_recipe(find("ncfm-table1")).tables()["paper"]
    write_json(target / "config.json", {**config, "paper": paper})
    results = Results.from_json(json.loads((target / "results.json").read_text()))
    last = results.rows[-1]
    verdict = judge(last.mean, last.std, last.n, published)
    rows = (*results.rows[:-1], replace(last, published=published, verdict=verdict))
    return replace(results, rows=rows)


def test_published_values_stand_beside_measured_ones(
    folder: tuple[Path, Results], tmp_path: Path
) -> None:
    published = PublishedValue(90.0, "Table 1", 0.3, 10, "Best <epoch>.")
    results = with_paper(folder[0], tmp_path / "run", published)
    write_report(results, tmp_path / "run")
    page = Page((tmp_path / "run" / "report.html").read_text())
    assert "90.0 ± 0.3 (n = 10)" in page.words
    assert "Dashed: the paper's values." in page.words
    assert "Best <epoch>." in page.words
    assert "@inproceedings" in page.words
    links = [a["href"] for tag, a in page.tags if tag == "a"]
    assert links == ["https://arxiv.org/abs/2502.20653"]
    text = (tmp_path / "run" / "report.md").read_text()
    assert "NCFM against the paper, below" in text
    header = next(line for line in text.splitlines() if line.startswith("| cell"))
    assert all(
        line.count("|") == header.count("|")
        for line in text.splitlines()
        if line.startswith(("| random", "| DM", "| NCFM"))
    )


def test_several_columns_make_a_table_with_references_and_claims(
    folder: tuple[Path, Results], tmp_path: Path
) -> None:
    shutil.copytree(folder[0], tmp_path / "run")
    real, packed, dm, ncfm = folder[1].rows
    ncfm = replace(ncfm, column="50 a class", status="failed", note="a loss is <nan>", last=())
    claim = Claim("DM is better", "nowhere", "dm", "random-real", -500.0)
    results = replace(
        folder[1], rows=(real, packed, dm, ncfm), columns=("10 a class", "50 a class"),
        references=(Reference("MTT", "50 a class", 46.3, 0.8),), claims=(claim,),
    )  # fmt: skip
    shown = table(results)
    assert list(shown) == ["random real", "random packed", "DM", "NCFM", "MTT"]
    assert shown["DM"]["10 a class"].measured == dm.value
    assert shown["NCFM"]["50 a class"].note == "failed"
    assert shown["MTT"]["50 a class"].published == "46.3 ± 0.8"
    write_report(results, tmp_path / "run")
    page = Page((tmp_path / "run" / "report.html").read_text())
    assert page.open == []
    assert "Small and grey: published" in page.words and "Upright" not in page.words
    for words in ("46.3 ± 0.8", "NCFM, 50 a class: failed.", "a loss is <nan>", "DM is better"):
        assert words in page.words
    lines = (tmp_path / "run" / "report.md").read_text().splitlines()
    pivot = lines[lines.index("| | 10 a class | 50 a class |") :][:7]
    assert [line.count("|") for line in pivot] == [4] * 7
    assert any(line.startswith('Claim: "DM is better" (nowhere): **') for line in lines)


def test_words_of_the_recipe_are_escaped(folder: tuple[Path, Results], tmp_path: Path) -> None:
    shutil.copytree(folder[0], tmp_path / "run")
    results = replace(folder[1], title="<script>alert(1)</script>")
    write_report(results, tmp_path / "run")
    page = Page((tmp_path / "run" / "report.html").read_text())
    assert "script" not in {tag for tag, _ in page.tags}
    assert "<script>" in page.words


def test_an_incomplete_run_says_so(folder: tuple[Path, Results], tmp_path: Path) -> None:
    shutil.copytree(folder[0], tmp_path / "run")
    missing = replace(folder[1].rows[3], status="missing", last=(), best=(), set=None)
    write_report(replace(folder[1], rows=(*folder[1].rows[:3], missing)), tmp_path / "run")
    page = Page((tmp_path / "run" / "report.html").read_text())
    assert "not complete: 3 of 4 cells" in page.words
    assert "not complete: 3 of 4 cells" in (tmp_path / "run" / "report.md").read_text()


def test_nothing_measured_is_a_report_too(folder: tuple[Path, Results], tmp_path: Path) -> None:
    shutil.copytree(folder[0], tmp_path / "run")
    rows = tuple(replace(r, status="missing", last=(), set=None) for r in folder[1].rows)
    write_report(replace(folder[1], rows=rows, pool_seconds=None), tmp_path / "run")
    assert "0 of 4 cells" in (tmp_path / "run" / "report.md").read_text()


def test_a_set_that_was_deleted_leaves_the_numbers(
    folder: tuple[Path, Results], tmp_path: Path
) -> None:
    shutil.copytree(folder[0], tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "sets")
    said: list[str] = []
    write_report(folder[1], tmp_path / "run", warn=said.append)
    text = (tmp_path / "run" / "report.md").read_text()
    assert folder[1].rows[3].accuracy in text and "images-" not in text
    assert len(said) == 4 and all("is missing, damaged or was changed" in each for each in said)


@pytest.mark.parametrize("how", ["swapped", "truncated", "deleted"])
def test_another_set_is_not_shown_under_a_methods_name(
    folder: tuple[Path, Results], tmp_path: Path, how: str
) -> None:
    path = tmp_path / "run"
    shutil.copytree(folder[0], path)
    dm, ncfm = (path / "sets" / str(row.set) / "distilled" for row in folder[1].rows[2:])
    if how == "swapped":
        shutil.rmtree(ncfm)
        shutil.copytree(dm, ncfm)
    elif how == "truncated":
        (file,) = ncfm.glob("*.safetensors")
        file.write_bytes(file.read_bytes()[:-5])
    else:
        (ncfm / "distilled.safetensors").unlink()
    said: list[str] = []
    write_report(folder[1], path, warn=said.append)
    (why,) = said
    assert str(folder[1].rows[3].set) in why and "--rerun ncfm makes it anew" in why
    text = (path / "report.md").read_text()
    assert "images-dm.png" in text and "images-ncfm.png" not in text


def test_rows_without_distillation_have_a_report_too(
    folder: tuple[Path, Results], tmp_path: Path
) -> None:
    shutil.copytree(folder[0], tmp_path / "run")
    (tmp_path / "run" / "figures" / "losses.png").unlink()
    results = replace(folder[1], rows=folder[1].rows[:1], pool_seconds=None)
    write_report(results, tmp_path / "run")
    assert not (tmp_path / "run" / "figures" / "losses.png").exists()


def test_students_that_were_tested_once_have_no_curve(
    folder: tuple[Path, Results], tmp_path: Path
) -> None:
    shutil.copytree(folder[0], tmp_path / "run")
    (tmp_path / "run" / "figures" / "students.png").unlink()
    for path in (tmp_path / "run").glob("cells/*/curves.json"):
        curves = json.loads(path.read_text())
        path.write_text(json.dumps({**curves, "students": [s[-1:] for s in curves["students"]]}))
    results = replace(folder[1], rows=tuple(replace(row, best=()) for row in folder[1].rows))
    write_report(results, tmp_path / "run")
    assert not (tmp_path / "run" / "figures" / "students.png").exists()
    assert "tested once" in (tmp_path / "run" / "report.md").read_text()


def test_methods_without_words_of_their_own_are_told_by_their_terms(
    folder: tuple[Path, Results], tmp_path: Path
) -> None:
    text = (folder[0] / "report.md").read_text()
    assert "**DM.**" in text and "**Distillation.**" not in text
    shutil.copytree(folder[0], tmp_path / "run")
    rows = tuple(replace(row, about="") for row in folder[1].rows)
    write_report(replace(folder[1], rows=rows), tmp_path / "run")
    text = (tmp_path / "run" / "report.md").read_text()
    (told,) = [line for line in text.splitlines() if "**Distillation.**" in line]
    assert "2 sets were distilled in" in told and "Terms of the loss" in told
    assert "DM: 1 dm;" in told and "NCFM: 300 ncfm" in told


def test_the_best_of_several_sets_is_called_so(folder: tuple[Path, Results]) -> None:
    best = "(the best of 2 sets on the test images)"
    assert best in (folder[0] / "report.md").read_text()
    assert any(best in sentence for sentence in findings(folder[1]))
    one = replace(folder[1], rows=folder[1].rows[:3])
    assert not any("the best of" in sentence for sentence in findings(one))


def test_a_folder_that_lacks_a_file_is_named(folder: tuple[Path, Results], tmp_path: Path) -> None:
    shutil.copytree(folder[0], tmp_path / "run")
    (tmp_path / "run" / "config.json").unlink()
    with pytest.raises(UserError, match=r"no config\.json"):
        write_report(folder[1], tmp_path / "run")


@pytest.mark.parametrize(
    ("architecture", "norm", "words"),
    [
        ("convnet", "instance", "new networks (ConvNet-3 of width 16, each"),
        ("convnet", "none", "(ConvNet-3 of width 16 without norm, each"),
        ("resnet18", "batch", "(ResNet-18 with batch norm, each"),
    ],
)
def test_the_network_is_named(
    folder: tuple[Path, Results], tmp_path: Path, architecture: str, norm: str, words: str
) -> None:
    path = tmp_path / "run"
    shutil.copytree(folder[0], path)
    config = json.loads((path / "config.json").read_text())
    for cell in config["cells"]:
        cell["set"]["student_network"] |= {"architecture": architecture, "norm": norm}
    write_json(path / "config.json", config)
    write_report(folder[1], path)
    assert words in (path / "report.md").read_text()


def test_the_views_of_other_forms_are_counted(folder: tuple[Path, Results], tmp_path: Path) -> None:
    path = tmp_path / "run"
    shutil.copytree(folder[0], path)
    rows = tuple(replace(row, factor=2, training_images=5 * row.ipc) for row in folder[1].rows)
    write_report(replace(folder[1], rows=rows), path)
    text = (path / "report.md").read_text()
    assert "Images hold views" in text
    assert "10 training images a class from 2 stored" in text
