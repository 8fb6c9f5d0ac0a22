"""How do others test with us? With disks that fail, disks that forget, and conformance suites.

`FailingStorage` fails at a chosen call. `InMemoryStorage` is a file system without files.
`DiskModelStorage` is one whose power can be cut. `StorageConformance` and `DomainPluginConformance` are
suites to subclass: pytest collects what is inherited.
"""

from muse.testing.disk_model import DiskModelStorage
from muse.testing.failing_storage import FailingStorage, Fault, failing_at_every_call
from muse.testing.memory_storage import InMemoryStorage
from muse.testing.plugin_conformance import DomainPluginConformance
from muse.testing.storage_conformance import StorageConformance

__all__ = [
    "DiskModelStorage",
    "DomainPluginConformance",
    "FailingStorage",
    "Fault",
    "InMemoryStorage",
    "StorageConformance",
    "failing_at_every_call",
]
