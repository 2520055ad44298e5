"""The four transfer-learning recipes as rows: what is removed, added and frozen, and in which phases training runs.

To change how a recipe is carried out, change its row. `strategies/plans/planning.py` turns a row into a plan for one
network and one dataset.
"""

from __future__ import annotations

from dataclasses import dataclass

from strategies.errors import unknown_name


@dataclass(frozen=True, kw_only=True)
class RecipePhase:
    """One training phase of a recipe, before a backbone is chosen.

    Attributes:
        name: Name of the phase.
        trains: Groups of stages that are trained: `"kept"`, `"rebuilt"` or `"classifier"`.
        solver: `"adamw"`, or `"logistic"`: the classifier alone, solved exactly on cached features.
        normed: Groups of stages in `trains` whose BatchNorm is trained, too. Everywhere else it is held.
        rate: Factor on the learning rate, which depends on how similar the images are to ImageNet's.
        budget: Share of the training budget that this phase gets.
        augmented: Whether images are augmented.
        optional: Whether the phase is undone unless the validation images show a gain.
    """

    name: str
    trains: tuple[str, ...]
    solver: str = "adamw"
    normed: tuple[str, ...] = ()
    rate: float = 1.0
    budget: float = 1.0
    augmented: bool = True
    optional: bool = False


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One of the four ways to transfer a pretrained network, in words and as data.

    Attributes:
        name: Name of the recipe.
        size: `"small"` or `"large"`: the size of dataset that it is for.
        domain: `"similar"` to ImageNet's images or `"different"`: the images that it is for.
        title: What it does, in one line.
        removes: Layers that are removed, in words.
        new: Layers that are added, in words.
        freezes: Layers that are frozen, in words.
        trains: Layers that are trained, in words.
        keeps: Stages of the backbone that are kept: `"features"`, all but fully connected ones; `"everything"`, fully
            connected ones too; `"all_but_last"`; or `"early"`, the stages up to the cut. Later stages are built again,
            and start from their pretrained values.
        phases: The training phases, in order.
        because: Why it suits such a dataset.
        source: Where it is described.
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
    phases: tuple[RecipePhase, ...]
    because: str
    source: str


HEAD_ONLY = "head_only"
_CS231N = "CS231n, Transfer Learning: When and how to fine-tune? (cs231n.github.io/transfer-learning)"
_HEAD = RecipePhase(name="head", trains=("classifier",), solver="logistic", augmented=False)

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            name=HEAD_ONLY,
            size="small",
            domain="similar",
            title="Replace the fully connected layers at the end, freeze the rest, train only the new layer",
            removes="the fully connected layers at the end",
            new="one fully connected layer with the new number of classes",
            freezes="everything else",
            trains="only the new layer",
            keeps="features",
            phases=(_HEAD,),
            because="High-level features of ImageNet fit similar images. With so few images, training more "
            "layers would overfit.",
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
            phases=(
                _HEAD,
                RecipePhase(name="whole_network", trains=("kept", "classifier")),
            ),
            because="There are enough images to fine-tune every layer without overfitting, and the pretrained weights "
            "are a good start. The head is fitted first, because a random head would distort them.",
            source=f"{_CS231N}; head first: Kumar et al. 2022, Fine-Tuning can Distort Pretrained Features",
        ),
        Recipe(
            name="keep_early_layers",
            size="small",
            domain="different",
            title="Keep the early layers frozen, add new layers on top and train them",
            removes="every stage after the cut",
            new="new layers of the same shapes, which start from the weights of the removed ones, and a classifier",
            freezes="the early stages up to the cut",
            trains="the classifier, then the new layers too; then the entire network at a low learning rate, if that "
            "improves validation",
            keeps="early",
            phases=(
                _HEAD,
                RecipePhase(name="later_layers", trains=("rebuilt", "classifier")),
                RecipePhase(
                    name="whole_network",
                    trains=("kept", "rebuilt", "classifier"),
                    rate=0.1,
                    budget=0.2,
                    optional=True,
                ),
            ),
            because="High-level features of ImageNet do not fit these images, but low-level ones (edges, colors) do. "
            "With the early layers frozen, few images have fewer weights to fit.",
            source=f"{_CS231N}; reuse of the lowest stages: Raghu et al. 2019, Transfusion, section 5",
        ),
        Recipe(
            name="retrain_all",
            size="large",
            domain="different",
            title="Replace the last layers, train the entire network, freeze nothing",
            removes="the fully connected layers at the end and the last stage",
            new="a last stage of the same shape, which starts from the weights of the removed one, and a classifier",
            freezes="nothing",
            trains="the classifier first, then the entire network at a high learning rate; BatchNorm is trained in the "
            "last stage only",
            keeps="all_but_last",
            phases=(
                _HEAD,
                RecipePhase(name="whole_network", trains=("kept", "rebuilt", "classifier"), normed=("rebuilt",)),
            ),
            because="The pretrained last stages do not fit these images, and there are enough images to train every "
            "layer. The pretrained weights are still a better start than random ones.",
            source=_CS231N,
        ),
    )
}


def get_recipe(name: str) -> Recipe:
    """Returns the recipe of that name.

    Args:
        name: `head_only`, `fine_tune_all`, `keep_early_layers` or `retrain_all`.

    Raises:
        UnknownNameError: If there is no such recipe. The message suggests the nearest name.

    Example:
        >>> from strategies import get_recipe
        >>> get_recipe("head_only").trains
        'only the new layer'
    """
    if name not in RECIPES:
        raise unknown_name("recipe", name, RECIPES)
    return RECIPES[name]
