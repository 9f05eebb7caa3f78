"""Recipes: what is read, what is refused, and what the refusal says."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from mien.errors import RunError, UsageError
from mien.files import from_yaml
from mien.grids import cells
from mien.places import check_finished, recipe_file, shipped
from mien.recipe import changed, load, parse

PLAIN = {"name": "plain", "data": {"source": "synthetic"}, "chain": ["grey", {"resize": 48}]}


def refusal(**changes: object) -> str:
    with pytest.raises(UsageError) as caught:
        parse(PLAIN | changes)
    return str(caught.value)


@pytest.mark.parametrize("name", list(shipped()))
def test_every_shipped_recipe_is_read_and_written_back(name: str, tmp_path: Path) -> None:
    for cell in cells(Path(name)):
        cell.recipe.save(tmp_path / "recipe.yaml")
        again = load(tmp_path / "recipe.yaml")
        assert again == cell.recipe and again.digest == cell.recipe.digest


def test_the_folder_of_a_run_comes_before_a_shipped_recipe_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("finetune").mkdir()
    assert load(Path("finetune")).name == "finetune"
    parse(PLAIN).save(Path("finetune/recipe.yaml"))
    with pytest.raises(RunError, match="mien train finetune --resume"):
        check_finished(Path("finetune"))
    assert load(Path("finetune")).name == "plain"


def test_a_misspelt_key_is_told_the_nearest() -> None:
    assert "fit.epoch: unknown key; did you mean 'epochs'?" in refusal(fit={"epoch": 3})
    assert "did you mean 'balance'?" in refusal(balanse={})


def test_wrong_values_name_their_key() -> None:
    assert "fit.epochs" in refusal(fit={"epochs": 0})
    assert "fit.optimiser" in refusal(fit={"optimiser": "adamm"})
    assert "test-as-monitor: nothing is chosen on the test split" in refusal(fit={"monitor": "test"})
    assert "transfer: full needs weights" in refusal(model={"transfer": "full"})
    assert "does not read weights" in refusal(model={"weights": "hub"})
    assert "seeds must differ" in refusal(seeds=[1, 1])
    assert "fit.batch" in refusal(fit={"batch": 1}), "the statistics of one picture are none"
    assert "did you mean 'resnet50'" in refusal(model={"backbone": "resnt50"})


@pytest.mark.parametrize(
    ("augment", "words"),
    [
        ({"rotation": 5, "rotation_range": 9}, "rotation_range and rotation are the same setting"),
        ({"brightness": 0.1, "brightness_range": [0.9, 1.1]}, "are the same setting"),
        ({"flip_horizontal": 0.2, "horizontal_flip": True}, "are the same setting"),
        ({"horizontal_flip": "maybe"}, "horizontal_flip is true or false"),
        ({"fill_mode": "wrap"}, "'nearest', 'reflect' or 'constant'"),
    ],
)
def test_names_of_keras_are_not_taken_for_more_than_they_say(augment: dict, words: str) -> None:
    assert words in refusal(augment=augment)


def test_a_chain_without_a_fixed_size_is_refused_before_any_work() -> None:
    assert "add a resize step" in refusal(chain=["grey"])
    assert "did you mean 'resize'?" in refusal(chain=["grey", {"resise": 48}])


def test_a_balancing_step_that_nobody_knows_is_refused() -> None:
    assert "smote" in refusal(balance={"steps": [{"smoke": {}}]})


def test_what_an_embedding_would_not_use_is_refused() -> None:
    assert "leave out model, fit" in refusal(triplet={"epochs": 2}, model={"backbone": "vgg16"}, fit={"epochs": 9})


def test_cleaning_needs_the_audit() -> None:
    assert "needs the audit" in refusal(audit="off", split={"clean": "train"})


def test_bare_on_and_off_of_yaml_are_understood() -> None:
    assert parse(PLAIN | {"audit": False}).audit == "off"
    assert parse(PLAIN | {"audit": True}).audit == "on"


def test_changes_reach_deep_keys_and_are_yaml() -> None:
    content = changed({"fit": {"epochs": 3}}, ["fit.epochs=5", "data.options.count=9", "seeds=[1, 2]"])
    assert content == {"fit": {"epochs": 5}, "data": {"options": {"count": 9}}, "seeds": [1, 2]}
    with pytest.raises(UsageError, match=r"key\.key=value"):
        changed({}, ["epochs"])


def test_a_key_that_is_given_twice_is_refused(tmp_path: Path) -> None:
    twice = tmp_path / "twice.yaml"
    twice.write_text(yaml.safe_dump(PLAIN) + "fit: {epochs: 2}\nevaluate: {bootstrap: 100}\nfit: {batch: 16}\n")
    with pytest.raises(UsageError, match=r"given twice: fit\n  in \"twice.yaml\""):
        load(twice)
    merged = "base: &base {epochs: 2, batch: 16}\nfit: {<<: *base, epochs: 3}\n"
    assert from_yaml(merged)["fit"] == {"epochs": 3, "batch": 16}


@pytest.mark.parametrize("change", ["fit.epochs=[1", "fit.epochs=2024-13-01"])
def test_a_change_that_is_not_yaml_is_named(change: str) -> None:
    with pytest.raises(UsageError, match=r"fit\.epochs is not valid YAML") as refused:
        changed({}, [change])
    assert refused.value.got == change


def test_the_digest_follows_what_shapes_the_result_only() -> None:
    same = parse(PLAIN | {"name": "other", "data": {"source": "synthetic", "root": "elsewhere"}})
    assert same.digest == parse(PLAIN).digest
    assert parse(PLAIN | {"fit": {"epochs": 2}}).digest != parse(PLAIN).digest
    here, there = ({"clean": "train", "clean_against": [{"source": "fer2013", "root": at}]} for at in ("here", "there"))
    assert parse(PLAIN | {"split": here}).digest == parse(PLAIN | {"split": there}).digest
    assert parse(PLAIN | {"split": here}).digest != parse(PLAIN | {"split": {"clean": "train"}}).digest


def test_a_dataset_to_be_clean_against_is_where_the_data_is_if_it_is_read_from_files() -> None:
    others = {"clean": "train", "clean_against": [{"source": "ferplus"}, {"source": "synthetic"}]}
    recipe = parse(PLAIN | {"data": {"source": "fer2013", "root": "here"}, "split": others})
    assert [other.root for other in recipe.others] == [Path("here"), None]


def test_a_recipe_that_is_not_there_lists_those_that_ship() -> None:
    with pytest.raises(UsageError, match="fer2013"):
        load(Path("no-such-recipe"))


def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path) -> None:
    for text in ("- 1\n", "a: [", "\x00"):
        (tmp_path / "bad.yaml").write_text(text)
        with pytest.raises(UsageError, match=r"bad\.yaml"):
            load(tmp_path / "bad.yaml")


@pytest.mark.parametrize(
    ("change", "owner"),
    [
        ("split.fold=3", "split.method: kfold"),
        ("split.group=sequence", "split.method: grouped"),
        ("balance.order=balance-before-split", "balance.steps"),
        ("model.freeze=0.5", "model.transfer: partial"),
        ("fit.momentum=0.5", "fit.optimiser: sgd"),
        ("fit.plateau_patience=2", "fit.schedule: plateau"),
        ("fit.teacher_share=0.5", "fit.teachers"),
        ("fit={teachers: [ferplus], teacher_share: 1, soft_labels: true}", "fit.teacher_share below 1"),
    ],
)
def test_a_setting_that_would_change_nothing_is_refused(change: str, owner: str) -> None:
    # The recipe's own optimiser is adamw, its schedule one-cycle, its split official.
    with pytest.raises(UsageError) as caught:
        load(Path("models/teachers/ferplus-large"), [change])
    key = {"fit": "fit.soft_labels"}.get(name := change.partition("=")[0], name)
    assert f"{key} changes nothing without {owner}" in str(caught.value)


def test_cleaning_against_another_dataset_belongs_to_cleaning() -> None:
    with pytest.raises(UsageError, match=r"clean_against changes nothing without split\.clean: train"):
        parse(PLAIN | {"split": {"clean_against": [{"source": "fer2013"}]}})


@pytest.mark.parametrize(
    ("change", "owner"),
    [
        ("augment={fill: constant, brightness: 0.1}", "augment.fill changes nothing without augment.rotation"),
        ("chain=[grey, {resize: [48, 40]}]", "fit.progressive changes nothing without a chain that ends in square"),
    ],
)
def test_a_setting_that_has_lost_its_use_is_refused(change: str, owner: str) -> None:
    with pytest.raises(UsageError, match=owner):
        load(Path("models/ferplus"), [change])


def test_a_grid_is_every_combination() -> None:
    found = cells(Path("demo"), ["fit.epochs=1"])
    assert len({cell.recipe.name for cell in found}) == 4
    assert {tuple(cell.place.items()) for cell in found} == {
        (("network", network), ("treatment", treatment))
        for network in ("mien-small", "mien-tiny")
        for treatment in ("plain", "clahe")
    }
    assert all(cell.recipe.fit.epochs == 1 for cell in found)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("{name: g, axes: {a: {b: {}}}}", "base: missing"),
        ("{base: {}, axes: {a: {b: {}}}}", "name: missing"),
        ("{name: g, base: {}, axes:}", "axes: missing"),
        ("{name: g, base: small, axes: {a: {b: {}}}}", "base: no mapping"),
        ("{name: g, base: {}, axes: [a, b]}", "axes: no mapping"),
        ("{name: g, base: {}, axes: []}", "axes: no mapping"),
        ("{name: g, base: [], axes: {a: {b: {}}}}", "base: no mapping"),
        ("{name: g, base: {}, axes: {}}", "axes: none named"),
        ("{name: g, base: {}, axes: {a: [b]}}", "axes.a: no mapping of values"),
        ("{name: g, base: {}, axes: {a: {b: 3}}}", "axes.a.b: no mapping"),
    ],
)
def test_what_is_no_grid_is_told_what_a_grid_needs(text: str, wrong: str, tmp_path: Path) -> None:
    (tmp_path / "grid.yaml").write_text(text)
    with pytest.raises(UsageError, match=r"grid\.yaml is not a grid") as refused:
        cells(tmp_path / "grid.yaml")
    assert refused.value.got == [wrong]
    assert "base" in str(refused.value.allowed)


def test_values_of_an_axis_may_be_numbers(tmp_path: Path) -> None:
    axes = {"seed": {number: {"seeds": [number]} for number in (1, 2)}}
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump({"name": "g", "base": PLAIN, "axes": axes}))
    assert [cell.recipe.name for cell in cells(tmp_path / "grid.yaml")] == ["g-1", "g-2"]


def grid_of(tmp_path: Path, **axes: dict[str, Any]) -> Path:
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump({"name": "g", "base": PLAIN, "axes": axes}))
    return tmp_path / "grid.yaml"


@pytest.mark.parametrize("change", ["fit.epochs=9", "fit={epochs: 9}", "fit.epochs.more=9"])
def test_no_change_overrides_what_the_cells_of_a_grid_are_named_for(change: str, tmp_path: Path) -> None:
    grid = grid_of(tmp_path, epochs={"one": {"fit.epochs": 1}, "two": {"fit.epochs": 2}})
    with pytest.raises(UsageError, match="sets what is changed") as refused:
        cells(grid, ["fit.batch=8", change])
    assert refused.value.got == [change]
    assert {cell.recipe.fit.batch for cell in cells(grid, ["fit.batch=8"])} == {8}


def test_two_cells_that_are_one_recipe_are_refused_by_name(tmp_path: Path) -> None:
    one = {"one": {"fit.epochs": 1}, "two": {"fit.epochs": 2}}
    with pytest.raises(UsageError, match="one recipe under two names") as refused:
        cells(grid_of(tmp_path, epochs=one, more={"three": {"fit.epochs": 3}}))
    assert refused.value.got == ["g-one-three", "g-two-three"]
    places = {name: {"data.root": name} for name in ("here", "there")}
    assert len(cells(grid_of(tmp_path, place=places))) == 2, "data of two places is not the same"


def test_a_recipe_is_checked_without_the_training_libraries(tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump(PLAIN | {"fit": {"epoch": 3}, "model": {"backbone": "vgg16"}}))
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from mien.errors import UsageError\n"
        "from mien.recipe import load\n"
        "load(Path('fer2013'))\n"
        "try:\n"
        "    load(Path(sys.argv[1]))\n"
        "except UsageError as error:\n"
        "    print(error)\n"
        "heavy = 'torch', 'timm', 'lightning', 'pytorch_metric_learning', 'sklearn', 'scipy', 'matplotlib'\n"
        "print([name for name in heavy if name in sys.modules])\n"
    )
    words = [sys.executable, "-c", script, str(tmp_path / "wrong.yaml")]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert "did you mean 'epochs'?" in done.stdout and done.stdout.endswith("[]\n")


@pytest.mark.parametrize("name", ["mine.yaml", "fer2013.yml", "study/mine", "studies/smote-vg19"])
def test_a_path_of_nothing_is_told_with_the_place_that_was_looked_at(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="no such recipe file") as caught:
        recipe_file(Path(name))
    assert caught.value.got == tmp_path / name
    near = {"fer2013.yml": "fer2013", "studies/smote-vg19": "studies/smote-vgg19"}.get(name)
    assert caught.value.then == (f"did you mean '{near}'?" if near else None)


def test_a_name_of_nothing_is_told_the_recipes_that_ship() -> None:
    with pytest.raises(UsageError, match="unknown recipe") as caught:
        recipe_file(Path("fer2031"))
    assert "fer2013" in str(caught.value.allowed) and caught.value.then == "did you mean 'fer2013'?"
