"""Where the project is, and the real input beside it."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
TESTS = ROOT / "tests"
DATA = ROOT.parent / "shared" / "data"
