"""Writes a plan as a standalone Keras script, for people who want to own the training code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from strategies.data.resizing import SQUARES
from strategies.data.value_range import FULL_RANGE
from strategies.errors import PlanError, UserError
from strategies.files import check_new_file, replacing
from strategies.networks.backbones import CLASSIFIER, OUTPUT, get_backbone
from strategies.networks.weights import BUNDLED, BUNDLED_FILE, sizes_to_load
from strategies.plans.plan import STRENGTHS, Phase, Plan, check_plan, class_weights

if TYPE_CHECKING:
    from jinja2 import Template

TEMPLATE = "train.py.jinja"
LONGEST = 120  # lines
WIDTH, MOST_LINES = 120, 8  # characters per line; lines per list: a list that needs more lines is put on one
LONG_NAME = 60  # characters: an optimizer that needs more gets a line of its own
# For each solver: its Keras class, the class without weight decay, and further arguments.
_OPTIMIZERS = {
    "adamw": ("keras.optimizers.AdamW", "keras.optimizers.Adam", ""),
    "sgd": ("keras.optimizers.SGD", "keras.optimizers.SGD", ", momentum=0.9, nesterov=True"),
}


def write_script(plan: Plan) -> str:
    """Writes a plan as a standalone Keras script of at most 120 lines, which needs only TensorFlow and Keras.

    The script takes a folder with one sub-folder of images per class, and the name of a new model file. It builds the
    same model, splits the images with the same seed, and freezes and trains the same stages in the same phases. It
    prints what each phase freezes and the test accuracy, and saves the model. Its docstring says where it is simpler
    than `strategies.train`.

    Args:
        plan: From `strategies.make_plan`, `strategies.read_plan` or a recommendation. A network that is not part of
            Keras is given to the script as a file, which `save_network` writes.

    Returns:
        The text of the script.

    Raises:
        PlanError: If the plan is impossible, if its backbone is a model of your own, which may need your own code, or
            if it names channels, since the script reads RGB.

    Example:
        >>> import strategies
        >>> plan = strategies.make_plan("head_only", "MobileNetV2-0.35", class_names=["cat", "dog"], num_train=80)
        >>> [line for line in strategies.write_script(plan).splitlines() if line.startswith("phases")]
        ['phases = [']
    """
    check_plan(plan)
    backbone = get_backbone(plan.backbone)
    if backbone.is_own:
        raise PlanError(
            f"Expected a plan for a network that a script can load or build. Received: {plan.backbone!r}, a model of "
            f"your own. Train it with strategies.train."
        )
    if plan.channels:
        raise PlanError(
            f"Expected a plan for RGB images, which a script can read. Received: channels={list(plan.channels)}. Train "
            f"it with strategies.train."
        )
    for most_lines in range(MOST_LINES, 0, -1):
        script = _fill_in(plan, most_lines)
        if script.count("\n") <= LONGEST:
            break
    return script


def needs_network(plan: Plan) -> bool:
    """Returns whether the script of a plan reads its network from a file, which `save_network` writes.

    The network is not part of Keras, or its weights are those of a run.
    """
    return bool(plan.network.row.package) or plan.network.is_of_run


def save_network(plan: Plan, path: str | Path) -> None:
    """Saves the pretrained network of a plan as a Keras model, for the script of a network that is not part of Keras.

    Args:
        plan: The plan of the script.
        path: A new file that ends in `.keras`.

    Raises:
        OutputError: If the file exists already, or if its folder does not.
        UserError: If the name of the file does not end in `.keras`.
        WeightsError: If the pretrained weights are not available.
    """
    from strategies.networks.pretrained import build_network

    if Path(path).suffix != ".keras":
        raise UserError(f"Expected a file name that ends in .keras. Received: {str(path)!r}. Change it.")
    check_new_file(path)
    with replacing(Path(path)) as temporary:
        build_network(plan.network).save(temporary)


def _fill_in(plan: Plan, most_lines: int) -> str:
    backbone = get_backbone(plan.backbone)
    last_layers = {stage.name: stage.last_layer for stage in plan.stages}
    kept = {name: last_layers[name] for name in (*plan.kept_stages, *plan.rebuilt_stages)}
    scaling = backbone.scaling
    from_file = plan.weights not in ("imagenet", "random") or bool(backbone.package)
    weights = class_weights(plan)
    columns = _columns(plan)
    several_rates = "peak" not in columns or "limit" in columns
    optimizer, base = _optimizer(plan, several_rates=several_rates)
    square = SQUARES[plan.resize]
    return _template().render(
        plan=plan,
        largest=2**plan.image_bits - 1 if plan.image_bits < FULL_RANGE else 0,
        square="" if square is None else square.__name__,
        backbone=backbone,
        arguments="".join(f", {name}={value!r}" for name, value in backbone.arguments.items()),
        classes=list(plan.class_names),
        weights=None if weights is None else {label: float(f"{weight:.6g}") for label, weight in enumerate(weights)},
        stages=kept,
        removed=", ".join([*(name for name in last_layers if name not in kept), "the top"]),
        weights_file=_weights_file(plan) if from_file else "",
        saved=needs_network(plan),
        several_sizes=plan.weights == "imagenet" and len(sizes_to_load(backbone, plan.image_size)) > 1,
        scale=_numbers(scaling.scale) if scaling.scale else "",
        offset=_numbers(scaling.offset),
        flipped=plan.weights != "random" and scaling.order != (0, 1, 2),
        scaled_kernel=from_file and set(scaling.factor) != {1.0},
        finalized=plan.weights != "random" and backbone.preprocessing == "built-in",
        nested=backbone.constructor.startswith("ConvNeXt"),
        dense=any(stage.dense for stage in plan.stages if stage.name in kept),
        last_layer=kept[plan.last_stage],
        named_output=kept[plan.last_stage] == OUTPUT,
        changes=_changes(plan),
        exact=len(plan.trained_by_steps) < len(plan.phases),
        by_steps=bool(plan.trained_by_steps),
        several_rates=several_rates,
        optimizer=optimizer,
        base=base,
        loss=_loss(plan),
        long_compile=bool(plan.label_smoothing) or len(optimizer) > LONG_NAME,
        classifier=CLASSIFIER,
        strengths=[strength / (2 if len(plan.class_names) == 2 else 1) for strength in STRENGTHS],
        columns=columns,
        rows=[_row(phase, columns, most_lines) for phase in plan.phases],
        most_lines=most_lines,
        mixed="mixed_float16" if plan.precision == "auto" else plan.precision,
    )


def _changes(plan: Plan) -> dict[str, Any]:
    """Returns how augmented images are changed, by name in the template; what is zero changes nothing."""
    given = plan.augmentation
    return {
        "flip": given.get("horizontal_flip", False),
        "margin": round(given.get("shift", 0.0) * plan.image_size),
        "color": given.get("color", 0.0),
        "rand_augment": given.get("rand_augment", 0.0),
    }


def _weights_file(plan: Plan) -> str:
    """Describes the weights file, without its path, which is valid on one machine only."""
    if needs_network(plan):
        return "the network, which 'advisor script --network' writes"
    if plan.weights == BUNDLED:
        return f"strategies/networks/bundled/{BUNDLED_FILE.name}"
    return "the weights file that the plan names"


def _columns(plan: Plan) -> list[str]:
    """Returns the columns of the table `phases` in the script, without those in which all phases are equal."""
    phases = plan.trained_by_steps
    flags = {
        "augmented": any(_changes(plan).values()) and any(phase.augmented or phase.views for phase in phases),
        "blend": any(phase.blend < 1 for phase in phases),
        "limit": any(phase.largest_step for phase in phases),
        "optional": any(phase.optional for phase in phases),
        "sgd": len({phase.solver for phase in phases}) > 1,
    }
    peak = [] if any(len(set(phase.learning_rate.values())) > 1 for phase in phases) else ["peak"]
    return ["name", "stages", *peak, "momentum", "steps", "rise", "decay", *(name for name in flags if flags[name])]


def _row(phase: Phase, columns: Sequence[str], most_lines: int) -> str:
    """Returns the row of the table `phases` for a phase. A head that is solved exactly has zero steps."""
    exact = not phase.has_steps
    steps = 0 if exact else phase.steps
    rates = dict.fromkeys(phase.trains, 0.0) if exact else dict(phase.learning_rate)
    values = {
        "name": phase.name,
        "stages": list(rates) if "peak" in columns else rates,
        "peak": max(rates.values()),
        "momentum": {name: row["momentum"] for name, row in phase.batch_norm.items() if row["mode"] == "train"},
        "steps": steps,
        "rise": max(0, min(steps - 1, round(phase.warmup * steps))),  # as in `optimizers.warm_up_and_cosine`
        "decay": phase.weight_decay,
        # Where the plan adds augmented copies of the images, the script augments them in each step.
        "augmented": phase.augmented or phase.views > 0,
        "blend": phase.blend,
        "limit": phase.largest_step or 1e9,
        "optional": phase.optional,
        "sgd": phase.solver == "sgd",
    }
    return _literal(tuple(values[name] for name in columns), "    ", ",", most_lines)


def _optimizer(plan: Plan, *, several_rates: bool) -> tuple[str, str]:
    """Returns the code that creates the optimizer, and the base class that the script uses for several rates."""
    rows = [_OPTIMIZERS[solver] for solver in sorted({phase.solver for phase in plan.trained_by_steps}, reverse=True)]
    own = (f"StageRates(rate{arguments})" for _, _, arguments in rows)
    plain = (f"{name}(rate{arguments}, weight_decay=decay)" for name, _, arguments in rows)
    return " if sgd else ".join(own if several_rates else plain), " if sgd else ".join(base for _, base, _ in rows)


def _loss(plan: Plan) -> str:
    if not plan.label_smoothing:
        return '"categorical_crossentropy"'
    return f"keras.losses.CategoricalCrossentropy(label_smoothing={plan.label_smoothing!r})"


def _numbers(values: tuple[float, float, float]) -> str:
    """Returns one number per channel as code, or a single number if all are equal."""
    return repr(values[0] if len(set(values)) == 1 else [round(value, 6) for value in values])


def _literal(value: Any, start: str = "", end: str = "", most_lines: int = MOST_LINES) -> str:
    """Returns a value as Python code, wrapped at 120 characters, or on a single line if it would need too many lines.

    `start` and `end` are the text before and after it.
    """
    lines = _filled(start, _pieces(value), end)
    return "\n".join(lines) if len(lines) <= most_lines else " ".join([lines[0], *(line.strip() for line in lines[1:])])


def _pieces(value: Any) -> list[str]:
    """Returns a value as Python code, in pieces after which a line may break."""
    if isinstance(value, str):
        # repr escapes whatever the text holds. The added apostrophe makes it choose double quotes.
        quoted = repr("'" + value)
        return [f'"{quoted[2:]}' if quoted.startswith('"') else repr(value)]
    if isinstance(value, Mapping):
        brackets, parts = "{}", [[f"{_literal(key)}: {_literal(item)}"] for key, item in value.items()]
    elif isinstance(value, list | tuple):
        brackets, parts = "[]" if isinstance(value, list) else "()", [_pieces(item) for item in value]
    else:
        return [repr(value)]
    if not parts:
        return [brackets]
    pieces = [piece for part in parts for piece in (*part[:-1], f"{part[-1]},")]
    pieces[0] = brackets[0] + pieces[0]
    pieces[-1] = pieces[-1][:-1] + brackets[1]
    return pieces


def _filled(start: str, pieces: Sequence[str], end: str) -> list[str]:
    indent = "    " + " " * (len(start) - len(start.lstrip()))
    lines = [start + pieces[0]]
    for place, piece in enumerate(pieces[1:], start=2):
        if len(f"{lines[-1]} {piece}{end if place == len(pieces) else ''}") > WIDTH:
            lines.append(indent + piece)
        else:
            lines[-1] += f" {piece}"
    lines[-1] += end
    return lines


@cache
def _template() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    # No HTML escaping: the template writes Python, and the filter `literal` quotes names.
    environment = Environment(
        loader=PackageLoader("strategies.plans"),
        undefined=StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["literal"] = _literal
    return environment.get_template(TEMPLATE)
