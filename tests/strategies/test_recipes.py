"""The four recipes."""

import pytest

from strategies.errors import UnknownNameError
from strategies.recipes import RECIPES, get_recipe


def test_there_is_one_recipe_for_each_cell_of_size_and_domain():
    """The 2 x 2 table is complete, and no cell has two recipes."""
    cells = {(recipe.size, recipe.domain) for recipe in RECIPES.values()}
    assert cells == {(size, domain) for size in ("small", "large") for domain in ("similar", "different")}
    assert len(RECIPES) == 4


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=lambda recipe: recipe.name)
def test_every_recipe_says_what_it_does_why_and_who_says_so(recipe):
    """No field of a row is empty, and its phases train the classifier."""
    for field in ("title", "removes", "new", "freezes", "trains", "because", "source"):
        assert len(getattr(recipe, field)) > 3
    assert any({"new", "classifier"} & set(phase.trains) for phase in recipe.phases)


def test_an_unknown_recipe_is_refused_with_a_suggestion():
    """For a misspelled name, the nearest name is suggested."""
    with pytest.raises(UnknownNameError, match="Did you mean 'head_only'"):
        get_recipe("head_onyl")
