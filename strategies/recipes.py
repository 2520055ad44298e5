"""The four documented recipes as rows: what is removed, what is new, what is frozen, and in which phases it trains.

To change how a recipe is carried out, change its row. `strategies/plans/planning.py` makes a
concrete plan of it for a network and a dataset.
"""

from __future__ import annotations

from dataclasses import dataclass

from strategies.errors import unknown_name


@dataclass(frozen=True, kw_only=True)
class RecipePhase:
    """One phase of a recipe, before it is made concrete for a backbone.

    `trains` names groups of stages: `kept`, `rebuilt`, `new` (all new layers) or `classifier`. `solver` is `logistic`
    (the classifier alone, solved on cached features) or `adamw`. `budget` is the share of the images seen.
    """

    name: str
    trains: tuple[str, ...]
    solver: str = "adamw"
    batch_norm: str = "inference"
    learning_rate: float = 1e-3
    budget: float = 1.0
    augmented: bool = True
    optional: bool = False


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One of the four documented ways to transfer a pretrained network, in words and as data.

    `keeps` says which stages of the backbone stay: `features`, all but fully connected ones; `everything`, those too;
    `all_but_last`, all but the last one; `early`, those up to the cut, while later ones but the last are built again
    from their pretrained values.
    """

    name: str
    size: str
    domain: str
    title: str
    removes: str
    new: str
    freezes: str
    trains: str
    keeps: str
    new_stage: bool
    phases: tuple[RecipePhase, ...]
    because: str
    source: str


_CS231N = "CS231n, Transfer Learning: When and how to fine-tune? (cs231n.github.io/transfer-learning)"
_HEAD = RecipePhase(name="head", trains=("classifier",), solver="logistic", augmented=False)
_NEW_LAYERS = RecipePhase(name="new_layers", trains=("new",), learning_rate=1e-3, budget=0.5, augmented=False)

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            name="head_only",
            size="small",
            domain="similar",
            title="Replace the fully connected end, freeze the rest, train the new layer only",
            removes="the fully connected layers at the end",
            new="one fully connected layer with the new number of classes",
            freezes="all the rest",
            trains="the new layer alone",
            keeps="features",
            new_stage=False,
            phases=(_HEAD,),
            because="High-level features fit images like ImageNet's, and so few images would overfit anything more.",
            source=_CS231N,
        ),
        Recipe(
            name="fine_tune_all",
            size="large",
            domain="similar",
            title="Replace the last layer, train the entire model from the pretrained weights",
            removes="the last fully connected layer",
            new="one fully connected layer with the new number of classes",
            freezes="nothing",
            trains="the new layer first, then the entire model",
            keeps="everything",
            new_stage=False,
            phases=(
                _HEAD,
                RecipePhase(name="whole_network", trains=("kept", "classifier"), learning_rate=3e-4),
            ),
            because="There are images enough to tune every layer without overfitting, and the pretrained weights are a "
            "good start; the head is fitted first, since a random one would distort them.",
            source=f"{_CS231N}; head first: Kumar et al. 2022, Fine-Tuning can Distort Pretrained Features",
        ),
        Recipe(
            name="keep_early_layers",
            size="small",
            domain="different",
            title="Keep the early layers frozen, put new layers on top and train those",
            removes="every stage after the cut",
            new="new layers, those with the shape of a removed one started from its values, and a classifier",
            freezes="the early stages up to the cut",
            trains="the new layers; then the entire network at a low rate, kept only if validation says it helped",
            keeps="early",
            new_stage=True,
            phases=(
                _NEW_LAYERS,
                RecipePhase(name="later_layers", trains=("rebuilt", "new"), batch_norm="train", learning_rate=1e-3),
                RecipePhase(
                    name="whole_network",
                    trains=("kept", "rebuilt", "new"),
                    learning_rate=3e-5,
                    budget=0.2,
                    optional=True,
                ),
            ),
            because="High-level features of ImageNet do not fit these images, low-level ones (edges, colours) do, and "
            "freezing them leaves fewer weights for few images to fit.",
            source=f"{_CS231N}; reuse of the lowest stages: Raghu et al. 2019, Transfusion, section 5",
        ),
        Recipe(
            name="retrain_all",
            size="large",
            domain="different",
            title="Replace the last layers, train the entire network, nothing frozen",
            removes="the top and the last stage",
            new="a last stage and a classifier",
            freezes="nothing",
            trains="the new layers first, then the entire network, BatchNorm included",
            keeps="all_but_last",
            new_stage=True,
            phases=(
                _NEW_LAYERS,
                RecipePhase(name="whole_network", trains=("kept", "new"), batch_norm="train", learning_rate=1e-3),
            ),
            because="The last stages do not fit these images as they are, and there are enough of them to train every "
            "layer; the pretrained weights are still the better start.",
            source=_CS231N,
        ),
    )
}


def get_recipe(name: str) -> Recipe:
    """Returns the recipe of that name.

    Args:
        name: `head_only`, `fine_tune_all`, `keep_early_layers` or `retrain_all`.

    Raises:
        UnknownNameError: If there is no such recipe; the text suggests the nearest name.

    Example:
        >>> from strategies import get_recipe
        >>> get_recipe("head_only").trains
        'the new layer alone'
    """
    if name not in RECIPES:
        raise unknown_name("recipe", name, RECIPES)
    return RECIPES[name]
