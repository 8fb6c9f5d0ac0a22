"""Finds the plugin of a domain among the installed packages.

A package offers a domain through the entry point group `muse.domains`: the entry point's name is
the domain's name, its value a class with no required argument.
"""

from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points

from muse.domain import DomainPlugin
from muse.errors import DomainError

GROUP = "muse.domains"


def plugin_names() -> list[str]:
    """Name every domain that an installed package offers, sorted."""
    return sorted(_offers())


@lru_cache(maxsize=64)
def find_plugin(domain: str) -> DomainPlugin | None:
    """Find the plugin of `domain`, or None when no installed package offers one.

    Returns the same object every time. Raises DomainError when the plugin is there but cannot be used: two
    packages offer the domain, it fails to load, or it is not a domain plugin.
    """
    offers = _offers().get(domain, ())
    if not offers:
        return None
    if len(offers) > 1:
        values = " and ".join(offer.value for offer in offers)
        raise DomainError(
            f"the domain {domain!r} is offered by {values}: uninstall all but one of the packages"
        )
    return _load(offers[0])


@lru_cache(maxsize=64)
def plugin_version(domain: str) -> str:
    """Name the class of a domain's plugin, and the package and version that it is of; "" without a plugin."""
    if find_plugin(domain) is None:
        return ""
    offer = _offers()[domain][0]
    package = f" {offer.dist.name} {offer.dist.version}" if offer.dist is not None else ""
    return f"{offer.value}{package}"


@lru_cache(maxsize=1)
def _offers() -> dict[str, tuple[EntryPoint, ...]]:
    """Group the installed entry points by domain; one that is seen twice on the path counts once."""
    found: dict[str, dict[str, EntryPoint]] = {}
    for offer in entry_points(group=GROUP):
        found.setdefault(offer.name, {}).setdefault(offer.value, offer)
    return {name: tuple(by_value[value] for value in sorted(by_value)) for name, by_value in found.items()}


def _load(offer: EntryPoint) -> DomainPlugin:
    try:
        plugin = offer.load()()
    except Exception as error:  # a plugin is other people's code: it may fail in any way
        raise DomainError(
            f"the plugin {offer.value!r} of the domain {offer.name!r} does not load: {error!r}; "
            "reinstall or remove the package that offers it"
        ) from error
    if not isinstance(plugin, DomainPlugin):
        raise DomainError(
            f"the plugin {offer.value!r} of the domain {offer.name!r} has no `apply` method: "
            "reinstall or remove the package that offers it"
        )
    return plugin
