"""Damaged files: one clear error, never another result, and nothing on disk is touched.

Artefacts and checkpoints are cut, changed at every byte, renumbered and swapped.
"""

from __future__ import annotations

import json
import random
import re
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dd_core import ArtifactError, DistilledSet
from dd_core.checkpoint import load_record, load_state, save_record, save_state
from dd_core.errors import CheckpointError
from dd_core.legacy import import_legacy

few = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
PIXELS, MANIFEST = "distilled.safetensors", "manifest.json"


def example(seed=0):
    pixels = torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(seed))
    return DistilledSet(
        pixels, torch.tensor([0, 1]), 2, (0.5,), (0.2,), ("cat", "dog"),
        {"method": "ncfm", "seed": 1}, decode="multi", bound=9, soft_labels=torch.eye(2),
    )  # fmt: skip


def facts_of(data):
    fields = dict(vars(data))
    return {n: v.tolist() if isinstance(v, torch.Tensor) else v for n, v in fields.items()}


def read_artifact(folder):
    """What a set says, or None after exactly the error that belongs to it."""
    try:
        return facts_of(DistilledSet.load(folder))
    except ArtifactError as error:
        assert_clear(error, folder)
        return None


STATE = {"weights": torch.randn(3, 4), "step": torch.tensor(7.0)}
FACTS = {"step": 3, "loss": 0.25, "names": ["a"]}


def read_state(path):
    try:
        loaded = load_state(path, key="k")
    except CheckpointError as error:
        assert_clear(error, path)
        return None
    assert loaded is not None
    tensors, facts = loaded
    return {n: (str(t.dtype), t.tolist()) for n, t in tensors.items()}, facts


def assert_clear(error, place):
    """One message that names the file, and shows no traceback of another error."""
    message = str(error)
    assert str(place) in message and len(message) < 1000 and message[-1] in ".?"
    assert error.__suppress_context__ or error.__context__ is None


def snapshot(folder):
    return {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.iterdir()}


def damage(content, draws):
    """Cuts everywhere, and at every place a changed byte: one bit, or any other value."""
    for length in [*range(0, 16), *range(16, len(content), 5), len(content) - 1]:
        yield content[:length]
    for place in range(len(content)):
        change = draws.choice((1 << draws.randrange(8), draws.randrange(1, 256)))
        yield content[:place] + bytes([content[place] ^ change]) + content[place + 1 :]


@pytest.fixture
def artifact(tmp_path):
    example().save(tmp_path / "set")
    return tmp_path / "set"


@pytest.fixture
def state(tmp_path):
    path = tmp_path / "state.safetensors"
    save_state(path, STATE, FACTS, key="k")
    return path


@pytest.mark.parametrize("name", [PIXELS, MANIFEST])
def test_a_damaged_artifact_is_refused_or_the_same(artifact, name):
    good, path = read_artifact(artifact), artifact / name
    content = path.read_bytes()
    refused = total = 0
    for damaged in damage(content, random.Random(0)):
        path.write_bytes(damaged)
        before = snapshot(artifact)
        found = read_artifact(artifact)
        assert found is None or found == good
        assert snapshot(artifact) == before
        refused += found is None
        total += 1
    assert total > 1.2 * len(content)
    # Only the blanks between a manifest's fields can change without changing what it says.
    blanks = len(re.findall(rb"\s", content)) if name == MANIFEST else 0
    assert refused >= total - 2 * blanks


def test_a_damaged_checkpoint_is_refused(state):
    good = read_state(state)
    assert good == ({n: (str(t.dtype), t.tolist()) for n, t in STATE.items()}, FACTS)
    content = state.read_bytes()
    for damaged in damage(content, random.Random(1)):
        state.write_bytes(damaged)
        before = snapshot(state.parent)
        found = read_state(state)
        assert found is None or found == good  # a blank of the header may change
        assert snapshot(state.parent) == before
    data = len(content) - sum(t.nbytes for t in STATE.values())
    for place in range(data, len(content)):
        for bit in range(8):
            changed = content[place] ^ (1 << bit)
            state.write_bytes(content[:place] + bytes([changed]) + content[place + 1 :])
            assert read_state(state) is None


def test_a_damaged_record_is_refused_or_the_same(tmp_path):
    path = tmp_path / "student_000.json"
    facts = {"curve": [[1.0, 61.25], [2.0, 70.5]], "seconds": 3.5, "name": "ü"}
    save_record(path, facts, key="k")
    content = path.read_bytes()
    refused = 0
    for damaged in damage(content, random.Random(3)):
        path.write_bytes(damaged)
        try:
            assert load_record(path, key="k") == facts
        except CheckpointError as error:
            assert_clear(error, path)
            refused += 1
        assert path.read_bytes() == damaged
    # Only a blank can change, and a digit of \\u00fc its case, without changing what it says.
    assert refused >= 1.2 * len(content) - 2 * content.count(b" ")


@given(content=st.binary(max_size=300))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_bytes_are_refused(tmp_path, content):
    folder = tmp_path / "set"
    if not folder.exists():
        example().save(folder)
    for name in (PIXELS, MANIFEST):
        good = (folder / name).read_bytes()
        (folder / name).write_bytes(content)
        assert read_artifact(folder) is None
        (folder / name).write_bytes(good)
    (tmp_path / "state").write_bytes(content)
    assert read_state(tmp_path / "state") is None
    with pytest.raises(CheckpointError, match="is damaged"):
        load_record(tmp_path / "state", key=None)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(value=JSON, field=st.sampled_from([None, *sorted(example()._manifest()), "sha256"]))
@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_manifest_of_any_json_is_refused(tmp_path, value, field):
    """Also where format 1 is claimed, whose manifest has no checksum."""
    folder = tmp_path / "set"
    if not (folder / "good").exists():
        example().save(folder)
        (folder / MANIFEST).rename(folder / "good")
    manifest = json.loads((folder / "good").read_text())
    for version in (1, 2):
        changed = value if field is None else {**manifest, "format": version, field: value}
        (folder / MANIFEST).write_text(json.dumps(changed))
        found = read_artifact(folder)
        assert version == 1 or found is None or changed == manifest


@pytest.mark.parametrize("number", [0, 3, 99, -1, "2", 2.0, True, None, [2]])
def test_other_format_numbers_are_named(artifact, state, number):
    path = artifact / MANIFEST
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, "format": number}))
    with pytest.raises(ArtifactError, match=r"has format .*, this version reads 1 and 2"):
        DistilledSet.load(artifact)
    content = state.read_bytes()
    if isinstance(number, int) and 0 <= number <= 9:
        state.write_bytes(content.replace(b'"format":"2"', b'"format":"%d"' % number))
        with pytest.raises(CheckpointError, match=f"has format {int(number)}, this version reads"):
            load_state(state, key="k")


def test_swapped_files_are_refused(tmp_path, state):
    first, second = tmp_path / "first", tmp_path / "second"
    example().save(first)
    example(seed=1).save(second)
    pixels = (first / PIXELS).read_bytes()
    (first / PIXELS).write_bytes((second / PIXELS).read_bytes())
    assert read_artifact(first) is None
    (first / PIXELS).write_bytes((first / MANIFEST).read_bytes())
    assert read_artifact(first) is None
    (first / PIXELS).write_bytes(state.read_bytes())
    assert read_artifact(first) is None
    state.write_bytes(pixels)  # an artefact's tensors are no state
    assert read_state(state) is None
    (first / PIXELS).write_bytes(pixels)
    assert read_artifact(first) == facts_of(example())


def test_folders_and_files_in_each_others_place(tmp_path, state):
    (tmp_path / "set" / MANIFEST).mkdir(parents=True)
    for place in (tmp_path / "set", state, tmp_path / "none"):
        assert read_artifact(place) is None
    with pytest.raises(CheckpointError, match="damaged"):
        load_state(tmp_path / "set", key="k")
    with pytest.raises(CheckpointError, match="is a folder"):
        load_record(tmp_path / "set", key="k")


def test_a_state_of_another_run_stays_as_it_is(state):
    before = snapshot(state.parent)
    with pytest.raises(CheckpointError, match="other settings"):
        load_state(state, key="another")
    assert snapshot(state.parent) == before


@pytest.mark.parametrize("zipped", [True, False])
def test_a_damaged_legacy_file_raises_nothing_else(tmp_path, zipped):
    """Every kind of cut and change; the zip form has a checksum of the pixels too."""
    path, data = tmp_path / "x.pt", example()
    torch.save([data.images, data.labels], path, _use_new_zipfile_serialization=zipped)
    answers = {"normalization": ((0.5,), (0.2,)), "class_names": ("cat", "dog"), "factor": 2}
    content, draws = path.read_bytes(), random.Random(2)
    damaged = list(damage(content, draws))
    refused = 0
    for bad in draws.sample(damaged, 400):
        path.write_bytes(bad)
        try:
            import_legacy(path, **answers)
        except ArtifactError as error:
            assert len(str(error)) < 1000 and str(error)[-1] in ".?"
            refused += 1
    assert refused > 100


def test_a_set_replaced_whole_is_the_new_one(artifact):
    replace(example(), class_names=("x", "y")).save(artifact)
    assert DistilledSet.load(artifact).class_names == ("x", "y")
