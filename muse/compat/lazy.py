"""Names that a package hands on, each imported when it is first used; and modules without their package."""

import sys

TYPE_CHECKING = False
"""As in `typing`, a module that takes longer to import than all that `import muse` needs."""

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import ModuleType


def lazy_names(
    package: str, homes: "Mapping[str, str]"
) -> "tuple[Callable[[str], object], Callable[[], list[str]]]":
    """Return the `__getattr__` and the `__dir__` of `package` (PEP 562). `homes`: name -> its module."""

    def find(name: str) -> object:
        home = homes.get(name)
        if home is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        __import__(home)
        value = getattr(sys.modules[home], name)
        setattr(sys.modules[package], name, value)  # found without a call from now on
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homes})

    return find, names


def import_inner(package: str, name: str) -> "ModuleType":
    """Import a module that is in a package, but not the package, which may take much longer.

    Raises `ModuleNotFoundError` if it is not there. For one that imports nothing of its package.
    """
    from importlib.machinery import PathFinder  # noqa: PLC0415 - `import muse` needs neither
    from importlib.util import find_spec, module_from_spec  # noqa: PLC0415

    full = f"{package}.{name}"
    if full not in sys.modules:
        outer = find_spec(package)
        found = outer and PathFinder.find_spec(full, outer.submodule_search_locations)
        if found is None or found.loader is None:
            raise ModuleNotFoundError(f"no module named {full!r}", name=full)
        sys.modules[full] = module_from_spec(found)
        try:
            found.loader.exec_module(sys.modules[full])
        except BaseException:  # no half of it may stay for the next who imports it
            del sys.modules[full]
            raise
    elif sys.modules[full] is None:  # as Python writes down that it may not be imported
        raise ModuleNotFoundError(f"no module named {full!r}", name=full)
    return sys.modules[full]
