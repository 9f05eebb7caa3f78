"""What the documents say is so: commands and options exist, recipes parse, keys and defaults agree, Python runs."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin

import cv2
import pytest
import tiny
import yaml
from conftest import ROOT
from pydantic import BaseModel
from typer.main import get_command

from mien import weights
from mien.cli import app
from mien.data.balance.steps import STEPS
from mien.data.protocols import PROTOCOLS, find
from mien.data.sources.catalog import SOURCES
from mien.data.synthetic import samples
from mien.grids import cells
from mien.imaging.chain import CATALOGUE
from mien.labels import LABEL_SETS
from mien.places import shipped
from mien.recipe import Recipe, parse
from mien.replay.published import STUDIES
from mien.replay.run import differs, plan
from mien.replay.studies import DIFFERS
from mien.replay.studies import PROTOCOLS as ORDERS
from mien.runtime.results import columns
from mien.runtime.video import writing

DOCUMENTS = ["README.md", "CONTRIBUTING.md", *(str(p.relative_to(ROOT)) for p in sorted((ROOT / "docs").rglob("*.md")))]
TEXTS = {name: (ROOT / name).read_text(encoding="utf-8") for name in DOCUMENTS}
_BLOCK = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ROW = re.compile(r"^\| `([^`]+)` \|(.*?)\| (.+) \|$", re.MULTILINE)


def blocks(kind: str) -> list[Any]:
    """Every block of one kind, such as `sh`, named after its document and number."""
    return [
        pytest.param(text, id=f"{name}-{number}")
        for name, whole in TEXTS.items()
        for number, (info, text) in enumerate(_BLOCK.findall(whole), 1)
        if info == kind
    ]


def commands() -> list[Any]:
    """Every `mien` command line of the `sh` blocks and of the help texts' examples."""
    lines = [line for block in blocks("sh") for line in block.values[0].splitlines()]
    lines += [example for _, command in walk(get_command(app)) for example in examples(command.help or "")]
    found = (re.search(r"(?:^|\| )(mien .*)", line) for line in lines)
    return sorted({match[1] for match in found if match})


def walk(command: Any, name: str = "mien") -> Iterator[tuple[str, Any]]:
    """Every command that does something, by its full name."""
    inner = getattr(command, "commands", {})
    if not inner or command.invoke_without_command:
        yield name, command
    for word, child in inner.items():
        yield from walk(child, f"{name} {word}")


def examples(text: str) -> list[str]:
    return re.findall(r"Example: (mien .+)", text)


@pytest.mark.parametrize("line", commands())
def test_a_command_is_understood(line: str) -> None:
    command, words = get_command(app), shlex.split(line, comments=True)[1:]
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    assert not getattr(command, "commands", {}) or command.invoke_without_command, f"no such command: {line}"
    assert command.make_context(command.name, words)


@pytest.mark.parametrize(("name", "command"), list(walk(get_command(app))))
def test_every_command_has_an_example_takes_json_and_is_in_the_readme(name: str, command: Any) -> None:
    assert [line for line in examples(command.help) if line.startswith(name)]
    assert "--json" in [option for parameter in command.params for option in parameter.opts]
    assert f"`{name}`" in TEXTS["README.md"]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_recipe_that_is_named_ships(document: str) -> None:
    named = re.findall(r"mien (?:train|compare) ([a-z][^\s`]*)", TEXTS[document])
    assert {name for name in named if not name.endswith(".yaml")} <= set(shipped())


@pytest.mark.parametrize(("name", "path"), list(shipped().items()))
def test_the_head_of_a_recipe_says_how_to_run_it(name: str, path: Path) -> None:
    head = "".join(line for line in path.read_text(encoding="utf-8").splitlines(True) if line.startswith("#"))
    named = re.findall(r"^# mien (?:train|compare|replay|demo) ?(\S*)", head, re.MULTILINE)
    assert named and {each or "demo" for each in named} <= {name, Path(name).name if "studies/" in name else name}


@pytest.mark.parametrize("text", blocks("yaml"))
def test_a_recipe_or_a_part_of_one_parses(text: str, tmp_path: Path) -> None:
    content = yaml.safe_load(text)
    if "axes" in content:
        (tmp_path / "grid.yaml").write_text(text, encoding="utf-8")
        assert len(cells(tmp_path / "grid.yaml")) > 1
        return
    start = {"name": "part", "data": {"source": "synthetic"}, "chain": ["grey", {"resize": 48}]}
    assert parse(start | content)


@pytest.mark.parametrize("text", blocks("yaml protocol"))
def test_a_protocol_parses(text: str, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
    assert find(str(tmp_path / "mine.yaml"))[0] == "mine"


@pytest.mark.parametrize("study", STUDIES)
def test_the_page_of_a_study_says_what_its_replay_says(study: str) -> None:
    paper, said = STUDIES[study], " ".join(TEXTS[f"docs/studies/{study}.md"].split())
    told = [f"{paper.authors} {paper.year}: {paper.title}", f"**Question:** {paper.question}"]
    told += [f"mien replay {study} ", f"`recipes/studies/{study}.yaml`", "## What to believe"]
    told += [f"- {text}" for each in DIFFERS[study].values() for text in each]
    told += [f"- {doubt.text}" for doubt in paper.doubts]
    made = plan(study, None, ORDERS, "small")
    told += [text for text in differs(study, "small", made) if text.startswith(("Settings", "Small scale"))]
    assert [text for text in told if text not in said] == []


def rows(text: str) -> list[tuple[str, str, str]]:
    """The rows of a document's tables whose first cell is a name: that name, the second cell, and the rest."""
    return [(name, second.strip(), rest) for name, second, rest in _ROW.findall(text)]


def keys_of(part: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every key of a part of the recipe by its dotted name, with its default as YAML has it (`...`: required)."""
    if is_dataclass(part):
        yield from ((prefix + field.name, plain(field.default)) for field in fields(part))
        return
    for name, field in part.model_fields.items():
        kinds = [kind for kind in (field.annotation, *get_args(field.annotation)) if isinstance(kind, type)]
        # The keys of each item of a list are explained in the row of the list.
        listed = get_origin(field.annotation) is tuple
        inner = None if listed else next((k for k in kinds if issubclass(k, BaseModel) or is_dataclass(k)), None)
        if inner is None or field.default is None:
            yield prefix + name, ... if field.is_required() else plain(field.default)
        if inner is not None:
            yield from keys_of(inner, f"{prefix}{name}.")


def plain(value: Any) -> Any:
    return [plain(each) for each in value] if isinstance(value, tuple) else value


def test_every_key_of_a_recipe_is_explained_with_its_default() -> None:
    known = dict(keys_of(Recipe))
    said = {
        key: ... if default == "required" else yaml.load(default.strip("`"), yaml.BaseLoader)
        for key, default, _ in rows(TEXTS["docs/recipes.md"])
        if key in known or "." in key
    }
    assert said == {
        key: ... if default is ... else yaml.load(yaml.safe_dump(default), yaml.BaseLoader)
        for key, default in known.items()
    }


@pytest.mark.parametrize("catalogue", [CATALOGUE, STEPS], ids=["chain", "balance"])
def test_steps_are_explained_with_their_defaults(catalogue: dict[str, Any]) -> None:
    said = {
        name: dict(pair for one in re.findall(r"`([^`]+)`", parameters) for pair in yaml.safe_load(one).items())
        for name, parameters, _ in rows(TEXTS["docs/recipes.md"])
        if name in catalogue
    }
    assert len(said) > 5
    for name, parameters in said.items():
        assert parameters == {field.name: plain(field.default) for field in fields(catalogue[name]) if field.init}, name


def test_sources_and_their_options_are_as_the_tables_say() -> None:
    sources, _, options = TEXTS["docs/data.md"].partition("Options, as")
    named = {name for name, _, _ in rows(sources)}
    assert named <= set(SOURCES) and len(named) >= 12
    said = {
        (name, option.strip("`"), rest.partition(" | ")[0].strip("`"))
        for name, option, rest in rows(options.partition("\n## ")[0])
    }
    assert said == {(name, option, str(value)) for name in named for option, value in SOURCES[name].options.items()}


def test_every_protocol_is_explained() -> None:
    assert set(PROTOCOLS) <= {name for name, _, _ in rows(TEXTS["docs/protocols.md"])}


def test_links_lead_somewhere() -> None:
    for name, text in TEXTS.items():
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", _BLOCK.sub("", text)):
            assert "://" in target or (ROOT / name).parent.joinpath(target).exists(), f"{name}: {target}"


@pytest.fixture
def holiday(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the documents speak of, and a small network in place of the model that ships."""
    about = tiny.info(labels=LABEL_SETS["ferplus"], uncertain_below=0.5)
    tiny.write(tmp_path / "ferplus.onnx", about.to_json(), classes=len(about.labels))
    monkeypatch.setattr(weights, "__file__", str(tmp_path / "__init__.py"))
    monkeypatch.chdir(tmp_path)
    drawn = samples(count=8, size=160, colour=True, seed=1)
    face = cv2.cvtColor(drawn.reader.read(drawn.table["image"].iloc[0]), cv2.COLOR_RGB2BGR)
    (tmp_path / "holiday").mkdir()
    for name in ("portrait.jpg", "group.jpg", "holiday/one.jpg", "holiday/two.jpg"):
        cv2.imwrite(name, face)
    return tmp_path


@pytest.mark.parametrize("document", [name for name in DOCUMENTS if "```python\n" in TEXTS[name]])
def test_python_in_the_documents_runs(document: str, holiday: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    for info, text in _BLOCK.findall(TEXTS[document]):
        if info == "python":
            if "clip.mp4" in text:
                film(holiday)
            exec(compile(text, document, "exec"), names)
    assert capsys.readouterr().out


def film(folder: Path) -> None:
    """Six frames of one picture as a video."""
    frame = cv2.cvtColor(cv2.imread(str(folder / "portrait.jpg")), cv2.COLOR_BGR2RGB)
    with writing(folder / "clip.mp4", 25.0) as write:
        for number in range(6):
            write(number / 25, frame)


def test_every_column_of_predict_is_explained() -> None:
    table = TEXTS["docs/deploy.md"].partition("| column | contents |\n")[2].partition("\n\n")[0]
    told = [name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert told == list(columns(("anger", "happiness")))
