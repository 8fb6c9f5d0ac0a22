"""How a domain's plugin is found."""

from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from muse.domain import DomainPlugin
from muse.errors import DomainError
from muse.plugins import registry
from muse.plugins.music.plugin import MusicPlugin

Install = Callable[..., None]


class NotAPlugin:
    """Loads, and can do nothing."""


def fails() -> None:
    raise RuntimeError("no such codec")


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Pretend that packages with these entry points, and no others, are installed."""

    def forget() -> None:
        registry.find_plugin.cache_clear()
        registry._offers.cache_clear()

    def pretend(**values: str | tuple[str, ...]) -> None:
        offers = [
            EntryPoint(name, value, registry.GROUP)
            for name, given in values.items()
            for value in ((given,) if isinstance(given, str) else given)
        ]

        def entry_points(**_: Any) -> list[EntryPoint]:
            return offers

        monkeypatch.setattr(registry, "entry_points", entry_points)
        forget()

    forget()
    yield pretend
    forget()


def test_music_is_found_through_its_installed_entry_point(install: Install) -> None:
    del install
    plugin = registry.find_plugin("music")
    assert isinstance(plugin, MusicPlugin)
    assert isinstance(plugin, DomainPlugin)
    assert registry.find_plugin("music") is plugin
    assert "music" in registry.plugin_names()


def test_a_domain_that_no_package_offers_has_no_plugin(install: Install) -> None:
    install(music="muse.plugins.music:MusicPlugin")
    assert registry.find_plugin("dance") is None
    assert registry.find_plugin("") is None
    assert registry.plugin_names() == ["music"]


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("no.such.module:Plugin", "does not load: ModuleNotFoundError"),
        ("muse.plugins.music:NoSuchPlugin", "does not load: AttributeError"),
        ("tests.plugins.test_registry:fails", "does not load: RuntimeError.'no such codec'"),
        ("tests.plugins.test_registry:NotAPlugin", "has no `apply` method"),
    ],
)
def test_a_plugin_that_cannot_be_used_is_named(install: Install, value: str, why: str) -> None:
    install(dance=value)
    with pytest.raises(DomainError, match=f"the plugin '{value}' of the domain 'dance' {why}"):
        registry.find_plugin("dance")


def test_two_packages_cannot_both_be_one_domain(install: Install) -> None:
    install(music=("muse.plugins.music:MusicPlugin", "tests.plugins.test_registry:NotAPlugin"))
    with pytest.raises(DomainError, match=r"offered by muse\.plugins\.music:MusicPlugin and tests"):
        registry.find_plugin("music")


def test_a_package_that_is_seen_twice_on_the_path_counts_once(install: Install) -> None:
    install(music=("muse.plugins.music:MusicPlugin",) * 2)
    assert isinstance(registry.find_plugin("music"), MusicPlugin)
