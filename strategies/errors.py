"""Exceptions for input that cannot be used: each message says what was expected, what was received and what to do."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

_HIDDEN = "***"  # in place of what is secret in a URL
_USER = re.compile(r"(?<=://)[^/\s'\"]*@")
_QUERY = re.compile(r"(?<=[^\s'\"?#])[?#][^\s'\"]*=[^\s'\"]*")


class UserError(ValueError):
    """The input cannot be used; the message says how to fix it. Base class of the other exceptions."""


class DatasetError(UserError):
    """The images or labels cannot be used."""


class UnknownNameError(UserError):
    """There is no backbone, recipe, stage or layer of that name."""


class WeightsError(UserError):
    """Pretrained weights are not available or do not fit the backbone."""


class PlanError(UserError):
    """A plan is incomplete, contradicts itself or does not fit the dataset."""


class OutputError(UserError):
    """An output folder or file cannot be written to."""


class RunError(UserError):
    """A folder is not a run folder, or its files do not belong to the same run."""


class ExportError(UserError):
    """A model cannot be exported, or the exported model cannot be loaded again."""


def unknown_name(kind: str, received: str, known: Iterable[str], *, hint: str = "") -> UnknownNameError:
    """Returns the error for an unknown name. Its message suggests the nearest known name and ends with `hint`."""
    names = sorted(known)
    near = [name for name in names if name.lower() == received.lower()]
    near = near or difflib.get_close_matches(received, names, n=1, cutoff=0.5)
    nearest = f" Did you mean {near[0]!r}?" if near else ""
    return UnknownNameError(f"Unknown {kind} {received!r}.{nearest} Known: {', '.join(names)}. {hint}".rstrip())


def in_a_sentence(error: Exception) -> str:
    """Returns the message of another library's error in one line, without its final period and without secrets."""
    text = getattr(error, "strerror", None) or str(error)
    return redacted(" ".join(text.split())).rstrip(".") or type(error).__name__


def redacted(text: str) -> str:
    """Returns a text without the user, the password and the query of each URL in it: a query may hold a signature.

    Example:
        >>> from strategies.errors import redacted
        >>> redacted("https://anna:secret@example.org/photos?X-Amz-Signature=abc&token=d")
        'https://***@example.org/photos?***'
        >>> redacted("s3://photos/cats"), redacted("photos/who?.jpg")
        ('s3://photos/cats', 'photos/who?.jpg')
    """
    return re.sub(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"]+", _without_secrets, text)


def _without_secrets(url: re.Match[str]) -> str:
    return _QUERY.sub(f"?{_HIDDEN}", _USER.sub(f"{_HIDDEN}@", url[0]))


def few(names: Sequence[str], most: int = 5) -> str:
    """Returns the first names, quoted, and the number of those left out.

    Example:
        >>> from strategies.errors import few
        >>> few(["cat", "dog", "owl"], most=2)
        "'cat', 'dog' and 1 more"
    """
    return listed([repr(name) for name in names], most)


def listed(texts: Sequence[str], most: int) -> str:
    """Returns the first texts, unquoted and separated by commas, and the number of those left out."""
    return ", ".join(texts[:most]) + (f" and {len(texts) - most} more" if len(texts) > most else "")
