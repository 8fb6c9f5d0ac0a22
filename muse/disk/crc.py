"""CRC-32: the sum that tells bytes which are not what was written."""

__all__ = ["crc32"]

try:
    from isal.isal_zlib import crc32  # the same CRC-32, five times as fast
except ImportError:  # no build for this machine
    from zlib import crc32
