"""What `advisor doctor` prints: whether the installation works, what was found, and what is missing."""

from __future__ import annotations

from advisor.installation import Installation
from advisor.report.terminal import KeyValues, Line, Part
from strategies.errors import listed

MOST_NETWORKS = 5  # that are named; --json names all


def installation_parts(installation: Installation) -> list[Part]:
    """Returns an installation in parts: whether it works, what was found, what failed, and what could be installed."""
    style = "good" if installation.is_ready else "bad"
    parts: list[Part] = [
        Line(text=_headline(installation), style=style, result=True),
        Line(text=""),
        KeyValues(rows=_rows(installation)),
    ]
    if installation.failed:
        parts += [Line(text=""), Line(text="What failed:", style="title")]
        parts.append(KeyValues(rows=list(installation.failed.items())))
    if installation.missing:
        rows = [row for part in installation.missing for row in ((part.name, part.use), ("", part.install))]
        parts += [Line(text=""), Line(text="What is not installed, and how to get it:", style="title")]
        parts.append(KeyValues(rows=rows))
    return parts


def _headline(installation: Installation) -> str:
    if not installation.is_ready:
        return f"Not ready. What failed: {', '.join(installation.failed)}."
    training = installation.found["training"]
    return (
        f"Ready. Training runs on {', '.join(training['devices'])} with {training['backend']}, frozen passes run on "
        f"{installation.found['engine']}."
    )


def _rows(installation: Installation) -> list[tuple[str, str]]:
    """Returns what was found, a row or more for each check that did not fail."""
    found, rows = installation.found, []
    if "advisor" in found:
        rows.append(("advisor", found["advisor"]))
    if "python" in found:
        python = found["python"]
        rows.append(("Python", f"{python['version']}, {python['platform']}, {python['cores']} cores"))
    if "packages" in found:
        versions = [f"{name} {version}" for name, version in found["packages"].items() if version is not None]
        rows.append(("packages", ", ".join(versions)))
    if "training" in found:
        training = found["training"]
        devices = ", ".join(training["devices"])
        rows.append(("training", f"{training['backend']} on {devices}, precision {training['precision']}"))
    if "engine" in found:
        rows.append(("frozen passes", found["engine"]))
    if "cache" in found:
        cache = found["cache"]
        rows.append(("cache", f"{cache['bytes'] / 1e6:,.0f} of {cache['max_bytes'] / 1e6:,.0f} MB, {cache['folder']}"))
    if "weights" in found:
        weights = found["weights"]
        here = [*weights["available"]]
        names = f": {listed(here, MOST_NETWORKS)}" if here else ""
        rows.append(("weights", f"of {len(here)} of {weights['num_networks']} networks{names}"))
        rows.append(("", f"Keras' cache: {weights['folder']}"))
        rows += [("", f"damaged, delete it: {path} ({fault})") for path, fault in weights["damaged"].items()]
    return rows
