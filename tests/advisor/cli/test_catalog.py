"""The commands that list recipes and backbones."""

import json

import pytest

from strategies.networks.backbones import BACKBONES
from strategies.recipes import RECIPES


@pytest.mark.parametrize(("command", "names"), [("recipes", RECIPES), ("backbones", BACKBONES)])
def test_every_row_is_listed(advisor, command, names):
    """As text, alone with --quiet, and as JSON with a version."""
    code, out, _ = advisor(command)
    assert code == 0
    assert all(name in out for name in names)
    assert advisor(command, "--quiet")[1].split() == list(names)
    values = json.loads(advisor(command, "--json")[1])
    assert [row["name"] for row in values[command]] == list(names)
    assert values["version"] == 1
