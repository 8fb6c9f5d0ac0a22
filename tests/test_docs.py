"""The Python of the pages: it uses what everyone may use, and does what the pages say."""

import ast
import re
import runpy
from pathlib import Path

import pytest

from muse import Repository, identified_notes
from muse.cli.app import run as run_command
from tests.samples.page_commands import (
    check_page,
    commands_of,
    outputs_of,
    save_programs,
    started,
    wait_for_line,
)
from tests.samples.project import DOCS, ROOT
from tests.samples.server_process import running_server

PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS: list[tuple[str, str]] = [
    (page.name, block) for page in PAGES for block in PYTHON.findall(page.read_text(encoding="utf-8"))
]


def block_with(page: str, words: str) -> str:
    [block] = [block for name, block in BLOCKS if name == page and words in block]
    return block


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(block: str) -> None:
    script = Path("block.py")
    script.write_text(block, encoding="utf-8")
    runpy.run_path(str(script))


def imported_modules(block: str) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.ImportFrom):
            found.append(node.module or "")
        elif isinstance(node, ast.Import):
            found += [name.name for name in node.names]
    return found


@pytest.mark.parametrize(("page", "block"), BLOCKS)
def test_a_page_imports_from_muse_and_nothing_deeper(page: str, block: str) -> None:
    modules = imported_modules(block)
    assert "muse" in modules
    assert not [name for name in modules if name.startswith("muse.")], page


def test_the_log_of_the_readme_records_and_sums_up(capsys: pytest.CaptureFixture[str]) -> None:
    run(block_with("README.md", "log.record"))
    assert capsys.readouterr().out == "2 patch\n[]\n"
    for command in ("init", "session recover jam-1", "commit -m Song"):
        assert run_command([*command.split(), "--repo", "my-project"]) == 0
    files = {"song.mid": Path("my-project/song.mid").read_bytes()}
    assert [note.pitch for _, note in identified_notes(files, "song.mid").values()] == [60, 64]


def test_the_session_of_the_readme_commits_a_note(capsys: pytest.CaptureFixture[str]) -> None:
    run(block_with("README.md", "session.commit"))
    assert "song.mid" in capsys.readouterr().out
    assert Path("my-song/song.mid").read_bytes().startswith(b"MThd")


def test_the_editor_of_the_code_domain_commits_a_text() -> None:
    Repository.init("my-project")
    run(block_with("code_domain.md", "editor.insert"))
    assert Path("my-project/hello.py").read_text() == "# by ada\nprint('hello')\n"


def test_the_client_of_its_page_records_and_reads(capsys: pytest.CaptureFixture[str]) -> None:
    with running_server() as server:
        run(block_with("client.md", "create_session").replace("http://127.0.0.1:7437", server.url))
    printed = capsys.readouterr().out
    assert printed.startswith("stored 1\n")
    assert printed.count("notes.txt") == 2


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_prose_names_no_module_deeper_than_the_public_face(page: Path) -> None:
    for name in re.findall(r"`muse\.([a-z_]+\.[\w.]+)", page.read_text(encoding="utf-8")):
        assert name.startswith(("client.", "testing.", "domain.", "core.op_log.")), name


# -- commands -----------------------------------------------------------------------------------

TUTORIALS = sorted((DOCS / "tutorials").glob("*.md"))
FEW = 10


def test_the_quick_start_of_the_readme_prints_what_it_shows(tmp_path: Path) -> None:
    check_page((ROOT / "README.md").read_text(encoding="utf-8"), tmp_path, "Quick start")


@pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda page: page.stem)
def test_a_tutorial_does_what_it_says_in_few_commands(tutorial: Path, tmp_path: Path) -> None:
    page = tutorial.read_text(encoding="utf-8")
    save_programs(page, tmp_path)
    check_page(page, tmp_path)
    commands = [one.command for one in commands_of(page) if not one.is_for_another_terminal]
    assert 0 < sum(command.count("muse ") for command in commands) < FEW


def test_each_tutorial_is_named_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert TUTORIALS
    for tutorial in TUTORIALS:
        assert f"(docs/tutorials/{tutorial.name})" in readme


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_links_to_files_that_are_there(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_the_agent_of_the_swarm_works_on_a_server(capsys: pytest.CaptureFixture[str]) -> None:
    with running_server() as server:
        run(block_with("swarm.md", "CodeReplica(session)").replace("http://127.0.0.1:7437", server.url))
    assert capsys.readouterr().out == "written from afar\n\n"


def test_the_watches_of_two_agents_bring_each_save_to_the_other(tmp_path: Path) -> None:
    page = (DOCS / "tutorials" / "agents.md").read_text(encoding="utf-8")
    commands = commands_of(page)
    outputs_of([one for one in commands[:6] if not one.is_for_another_terminal], tmp_path)
    of_bot, of_lead = [one.command for one in commands if one.is_for_another_terminal]
    with started(of_bot, tmp_path / "shared") as bot, started(of_lead, tmp_path / "shared") as lead:
        for watch in (bot, lead):
            wait_for_line(watch, "  started  ")
        with (tmp_path / "bot-1" / "shapes.py").open("a") as file:
            file.write("# by a program that knows nothing of this\n")
        wait_for_line(lead, "  brought  ")
        text = (tmp_path / "shared" / "shapes.py").read_text()
        assert text.endswith("# by a program that knows nothing of this\n")
