"""What the checkout says of itself to somebody who has just got it."""

from __future__ import annotations

import re
import subprocess

import pytest

from support.surroundings import ROOT

#: Put together here, so that this file does not contain what it looks for.
REGISTRY_HOSTS = ("py" + "pi.org", "files.python" + "hosted.org", "registry.npm" + "js.org", "deb." + "debian.org")
MACHINE_PATHS = re.compile(rb"(?<![\w.$}/~-])/(?:work|root)/[\w.]")


def tracked_files() -> list[str]:
    if not (ROOT / ".git").exists():
        # An unpacked archive: everything that git would not ignore cannot be asked for, so the sources stand for it.
        return [str(path.relative_to(ROOT)) for path in (ROOT / "jobrunner_cli").rglob("*.py")]
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, check=True,
    ).stdout  # fmt: skip
    return sorted({name for name in listed.decode().split("\0") if (ROOT / name).is_file()})


def test_readme_opens_with_the_two_commands():
    lines = [line.strip() for line in (ROOT / "README.md").read_text().splitlines()]
    commands = [line for line in lines if line.startswith("./just")]
    assert commands[:2] == ["./just demo", "./just test"]
    assert lines.index("./just test") < 8


def test_no_file_names_a_package_registry():
    naming = [
        (name, host)
        for name in tracked_files()
        for host in REGISTRY_HOSTS
        if host.encode() in (ROOT / name).read_bytes()
    ]
    assert naming == []


def test_no_file_names_a_path_of_one_machine():
    naming = [
        (name, found[0])
        for name in tracked_files()
        if (found := MACHINE_PATHS.findall((ROOT / name).read_bytes())) and not name.endswith((".svg", ".png"))
    ]
    assert naming == []


def test_every_recipe_has_a_line_of_help():
    listed = subprocess.run(
        [ROOT / ".venv/bin/just", "--justfile", ROOT / "justfile", "--list"], capture_output=True, text=True, check=True
    ).stdout.splitlines()[1:]
    assert [line for line in listed if "#" not in line] == []


@pytest.mark.parametrize("recipe", ["demo", "test", "check", "devenv", "add-job", "run", "migrate", "engine"])
def test_recipe_that_the_readme_or_a_habit_expects_is_there(recipe: str):
    assert re.search(rf"^{recipe}\b.*:", (ROOT / "justfile").read_text(), re.MULTILINE)


def test_pages_name_no_recipe_that_is_not_there():
    listed = subprocess.run(
        [ROOT / ".venv/bin/just", "--justfile", ROOT / "justfile", "--summary"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    pages = [ROOT / "README.md", ROOT / "dotenv-sample", ROOT / "docs/generate.py", *(ROOT / "docs").glob("*.md")]
    named = {
        (page.name, recipe)
        for page in pages
        for recipe in re.findall(r"(?:\./just |`just |; just )([a-z]+(?:-[a-z]+)*)", page.read_text())
    }
    assert len(named) > 15
    assert [(page, recipe) for page, recipe in sorted(named) if recipe not in listed] == []


def test_every_page_is_found_from_the_front_page():
    front = (ROOT / "README.md").read_text() + (ROOT / "docs/architecture.md").read_text()
    assert [page.name for page in (ROOT / "docs").glob("*.md") if page.name not in front] == []


def test_map_of_the_rooms_has_every_room_and_no_other():
    rooms = (ROOT / "docs/architecture.md").read_text().partition("## Rooms")[2].partition("\nImports run one way")[0]
    directories = {path.parent.name for path in (ROOT / "jobrunner_cli").rglob("__init__.py")}
    assert sorted(re.findall(r"^ +([a-z_]+)/ ", rooms, re.MULTILINE)) == sorted(directories)


def test_architecture_names_no_module_that_is_gone():
    page = (ROOT / "docs/architecture.md").read_text()
    modules = [f"/{path.relative_to(ROOT)}" for path in (ROOT / "jobrunner_cli").rglob("*.py")]
    named = set(re.findall(r"[a-z_/]+\.py\b", page)) - {"docs/generate.py"}
    assert len(named) > 5
    assert sorted(name for name in named if not any(module.endswith(f"/{name}") for module in modules)) == []
