"""The few exceptions: `ValueError`s whose text says what was received, what was expected and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class UserError(ValueError):
    """Something the user gave cannot be used; the text is one sentence that says how to mend it."""


class DatasetError(UserError):
    """The images or labels cannot be used as they are."""


class UnknownNameError(UserError):
    """A backbone, recipe or stage that does not exist was named."""


class WeightsError(UserError):
    """Pretrained weights cannot be had or do not fit the backbone."""


class PlanError(UserError):
    """A plan is incomplete, contradicts itself or does not fit the data."""


class OutputError(UserError):
    """An output folder or file cannot be written to."""


class RunError(UserError):
    """A folder is not a run folder, or what lies in it does not belong together."""


class ExportError(UserError):
    """A model cannot be exported, or the exported model cannot be loaded again."""


def unknown_name(kind: str, received: str, known: Iterable[str], *, hint: str = "") -> UnknownNameError:
    """Returns the error for an unknown name, with the nearest known name as a suggestion, and `hint` at its end."""
    names = sorted(known)
    near = [name for name in names if name.lower() == received.lower()]
    near = near or difflib.get_close_matches(received, names, n=1, cutoff=0.5)
    nearest = f" Did you mean {near[0]!r}?" if near else ""
    return UnknownNameError(f"Unknown {kind} {received!r}.{nearest} Known: {', '.join(names)}. {hint}".rstrip())


def in_a_sentence(error: Exception) -> str:
    """Returns an error of another library as a few words within a sentence."""
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(text.split()).rstrip(".") or type(error).__name__


def few(names: Sequence[str], most: int = 5) -> str:
    """Returns the first few names, quoted, for a sentence, and how many more there are.

    Example:
        >>> from strategies.errors import few
        >>> few(["cat", "dog", "owl"], most=2)
        "'cat', 'dog' and 1 more"
    """
    return listed([repr(name) for name in names], most)


def listed(texts: Sequence[str], most: int) -> str:
    """Returns the first few texts as they are, separated by commas, and how many more there are."""
    return ", ".join(texts[:most]) + (f" and {len(texts) - most} more" if len(texts) > most else "")
