"""Class folders in object storage, by a URL of fsspec. An image is downloaded each time it is read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from pathlib import PurePosixPath
from typing import Any

from strategies.data.dataset import ImageDataset
from strategies.data.encoded import MAX_FILE_BYTES, Encoded
from strategies.data.sources.folders import Listing, by_folder, folders_of
from strategies.data.sources.unused import SPECIAL
from strategies.errors import DatasetError, in_a_sentence, redacted

_LOCAL = ("file", "local")


def is_url(source: Any) -> bool:
    """Returns whether `source` is text that begins with a protocol, such as `s3://`."""
    return isinstance(source, str) and re.match(r"[A-Za-z][A-Za-z0-9+.-]*(::|://)", source) is not None


def read_url(source: Any) -> ImageDataset:
    """Reads a class folder in object storage, with or without train, val and test folders.

    Raises:
        DatasetError: If fsspec or its package for this storage is not installed, or the storage does not answer.
    """
    shown = redacted(source)
    if re.split("://|::", source)[0].lower() in _LOCAL or "::" in source:
        raise DatasetError(
            f"Expected a URL of object storage, such as 's3://bucket/photos'. Received: {shown!r}. Give the path of "
            f"a folder or archive instead."
        )
    try:
        import fsspec

        storage, root = fsspec.core.url_to_fs(source)
        found = storage.find(root, detail=True)
    except ImportError as error:
        raise DatasetError(
            f"Expected fsspec and its package for this storage. Received: {shown!r} and an environment without "
            f"them ({in_a_sentence(error)}). Run: pip install 'transfer-advisor[remote]', and install that package."
        ) from error
    except Exception as error:  # each storage has its own errors
        raise DatasetError(
            f"Expected a folder in object storage. Received: {shown!r} ({in_a_sentence(error)}). Check the URL and "
            f"your access to it."
        ) from error
    listing, start = Listing(), len(root.rstrip("/")) + 1
    for path, details in sorted(found.items()):
        name = path[start:].encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        if name:
            item = Encoded(redacted(path), partial(storage.cat_file, path))
            listing.add(name, item, why=_why_unused(name, details))
    listing.folders = folders_of([*listing.images, *listing.ignored])
    return by_folder(listing, shown)


def _why_unused(name: str, details: Mapping[str, Any]) -> str:
    if details.get("type") != "file":
        return SPECIAL
    if (details.get("size") or 0) > MAX_FILE_BYTES:
        return f"larger than {MAX_FILE_BYTES:,} bytes"
    return "" if PurePosixPath(name).suffix else "without a suffix, and not downloaded to look at it"
