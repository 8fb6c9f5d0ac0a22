"""The Python of the pages: it uses what everyone may use, and does what the pages say."""

import ast
import re
import runpy
from pathlib import Path

import pytest

from muse import Repository
from tests.samples.project import DOCS, ROOT
from tests.samples.server_process import running_server

PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
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
    assert capsys.readouterr().out == "1 insert, 1 delete\n[]\n"


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
