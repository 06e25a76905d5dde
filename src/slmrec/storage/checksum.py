"""CRC32C, by which Cloud Storage knows every object."""

import base64
from pathlib import Path

_BLOCK = 2**20


def crc32c(content: Path | bytes) -> str:
    """CRC32C of a file or of bytes, in the base64 that Cloud Storage writes it in."""
    import google_crc32c

    checksum = google_crc32c.Checksum()
    if isinstance(content, bytes):
        checksum.update(content)
    else:
        with content.open("rb") as file:
            while block := file.read(_BLOCK):
                checksum.update(block)
    return base64.b64encode(checksum.digest()).decode()
