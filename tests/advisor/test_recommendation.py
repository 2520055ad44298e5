"""From images to advice, on real datasets and with a real ruler."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from synthetic_study import facts

import advisor
from advisor.advice import Advice
from advisor.decision import decide
from advisor.expectation import expect, refit_gain
from advisor.race import Race, Round
from advisor.recommendation import after_race, plans_of
from advisor.report.text import summarize
from advisor.time_limit import LEAST_SHARE, TimeLimit
from strategies.errors import OutputError, PlanError, UnknownNameError, UserError
from strategies.files import check_schema
from strategies.plans.cost import estimate_parts
from strategies.plans.plan import plan_from_dict, read_plan
from strategies.plans.planning import make_plan, with_batch_size, with_budget
from strategies.recipes import RECIPES

BACKBONE = "MobileNetV2-0.35"


@pytest.fixture(scope="module")
def advice(test_data, pretrained_weights):
    """Advice on two real datasets, one near ImageNet and one far from it."""
    return {name: advisor.recommend(test_data / name, backbone=BACKBONE) for name in ("flowers5", "skin7")}


def test_flowers_and_skin_lesions_get_reasons_of_their_own(advice):
    """Flowers lie nearer to ImageNet, and each says so with its numbers, and what all four recipes would reach."""
    near, far = advice["flowers5"], advice["skin7"]
    assert near.similarity.low > far.similarity.high
    assert (near.answers.recipe, far.answers.recipe) == ("head_only", "keep_early_layers")
    for recommended in (near, far):
        assert f"{recommended.similarity.score:.2f}" in str(recommended)
        assert recommended.plan.recipe == recommended.recipe
        assert recommended.depth_curve is not None
        assert all(name in str(recommended) for name in RECIPES)
        assert set(recommended.costs) == set(recommended.expected.recipes) == set(RECIPES)


def test_the_files_follow_their_schemas_and_are_read_back(advice, tmp_path):
    """fingerprint.json and plan.json are versioned, strict JSON; the plan read back is the plan."""
    for name, recommended in advice.items():
        folder = recommended.save(tmp_path / name)
        assert {path.name for path in folder.iterdir()} == {
            "fingerprint.json", "plan.json", "pictures.json", "report.md", "report.html",
        }  # fmt: skip
        fingerprint = json.loads((folder / "fingerprint.json").read_text())
        check_schema(fingerprint, "fingerprint", package="advisor")
        assert fingerprint["similarity"]["score"] == recommended.similarity.score
        assert read_plan(folder / "plan.json") == plan_from_dict(recommended.plan.to_dict())
        values = json.loads((folder / "plan.json").read_text())
        assert values["advice"]["textbook_recipe"] == recommended.answers.recipe
        assert all(row["parameters"] for row in values["freeze_map"] if row["stage"] != "top")


def test_every_form_of_the_same_images_gets_the_same_measurements(photos, pretrained_weights):
    """Folder, table, arrays and tf.data differ in nothing but the form."""
    import tensorflow as tf

    files = sorted(photos.rglob("*.png"))
    labels = [path.parent.name for path in files]
    arrays = np.stack([np.asarray(Image.open(path)) for path in files])
    indices = np.array([sorted(set(labels)).index(label) for label in labels])
    forms = {
        "folder": photos,
        "table": pd.DataFrame({"path": [str(path) for path in files], "label": labels}),
        "arrays": (arrays, np.array(labels)),
        "tf.data": tf.data.Dataset.from_tensor_slices((arrays, indices)).batch(7),
    }
    found = {name: advisor.recommend(form, backbone=BACKBONE) for name, form in forms.items()}
    assert len({recommended.plan.recipe for recommended in found.values()}) == 1
    assert len({recommended.profile.effective_num_images for recommended in found.values()}) == 1
    scores = [recommended.similarity.score for recommended in found.values()]
    assert max(scores) - min(scores) < 0.02


def test_the_users_recipe_overrules_the_advice_and_both_are_kept(photos, pretrained_weights):
    """The plan is for the named recipe; the advice still says what the rule says."""
    recommended = advisor.recommend(photos, backbone=BACKBONE)
    other = next(name for name in RECIPES if name != recommended.recipe)
    asked = advisor.recommend(photos, backbone=BACKBONE, recipe=other)
    assert asked.plan.recipe == other
    assert asked.plan.advice["recipe"] == asked.recipe == recommended.recipe
    assert f"follows {other} instead" in str(asked)


def test_the_plan_flips_no_images_that_are_recognized_less_well_mirrored(photos, pretrained_weights):
    """The advice says why, with the numbers, and the user may overrule it."""
    digits = load_digits()
    images = (digits.images[:200] * 255 / 16).astype("uint8"), [str(digit) for digit in digits.target[:200]]
    options = {"backbone": BACKBONE, "image_size": 32, "recipe": "retrain_all"}
    recommended = advisor.recommend(images, **options)
    assert recommended.mirroring.matters
    assert recommended.plan.augmentation == {"shift": 0.1}
    assert recommended.plan.advice["because"][-1] in str(recommended)
    assert f"falls by {100 * recommended.mirroring.fall:.1f}" in recommended.plan.advice["because"][-1]
    assert "images shifted by up to 10%" in summarize(recommended, verbose=True)
    asked = advisor.recommend(images, **options, augment="flip")
    assert asked.plan.augmentation == {"horizontal_flip": True}
    assert asked.mirroring == recommended.mirroring
    flipped = advisor.recommend(photos, **options)
    assert flipped.plan.augmentation["horizontal_flip"]
    assert "irrored" not in " ".join(flipped.because)
    assert "recognized about as well" in summarize(flipped, verbose=True)
    assert (flipped.plan.resize, flipped.resizing) == ("squeeze", None)  # these photos are square


def test_images_that_are_not_square_are_resized_as_they_are_recognized_best(photos, pretrained_weights, tmp_path):
    """Not squeezed amid noise; the user may overrule it, and the similarity is always that of squeezed images."""
    files = sorted(photos.rglob("*.png"))
    images = np.random.default_rng(0).integers(0, 256, (len(files), 54, 270, 3), dtype="uint8")
    for image, path in zip(images, files, strict=True):
        image[:, 108:162] = np.asarray(Image.open(path).resize((54, 54)))
    data, options = (images, [path.parent.name for path in files]), {"backbone": BACKBONE, "image_size": 32}
    recommended = advisor.recommend(data, **options)
    assert recommended.plan.resize == recommended.resizing.best == "crop"
    assert "so they are cropped rather than squeezed" in recommended.plan.advice["because"][-1]
    assert "images cropped to a square" in summarize(recommended, verbose=True)
    folder = recommended.save(tmp_path / "advice")
    fingerprint, plan = json.loads((folder / "fingerprint.json").read_text()), read_plan(folder / "plan.json")
    check_schema(fingerprint, "fingerprint", package="advisor", error=UserError)
    assert (plan.resize, Advice.from_dicts(fingerprint, plan).resizing) == ("crop", recommended.resizing)
    asked = advisor.recommend(recommended.dataset, **options, resize="squeeze")
    assert (asked.plan.resize, asked.resizing) == ("squeeze", None)
    assert asked.similarity.score == recommended.similarity.score
    assert asked.mirroring != recommended.mirroring


def test_unknown_names_are_refused_before_any_image_is_read(tmp_path):
    """A typo costs no time."""
    with pytest.raises(UnknownNameError, match="Did you mean 'MobileNetV2'"):
        advisor.recommend(tmp_path / "nothing", backbone="MobilenetV2")
    with pytest.raises(UnknownNameError, match="Did you mean 'head_only'"):
        advisor.recommend(tmp_path / "nothing", recipe="headonly")
    with pytest.raises(UnknownNameError, match="Did you mean 'accuracy'"):
        advisor.recommend(tmp_path / "nothing", prefer="acuracy")
    with pytest.raises(UnknownNameError, match="Did you mean 'flip'"):
        advisor.recommend(tmp_path / "nothing", augment="flips")
    with pytest.raises(UnknownNameError, match="Did you mean 'squeeze'"):
        advisor.recommend(tmp_path / "nothing", resize="squeezed")


def test_the_same_seed_gives_the_same_advice(photos, pretrained_weights):
    """Plan and fingerprint are equal."""
    first, again = (advisor.recommend(photos, backbone=BACKBONE, seed=5) for _ in range(2))
    assert first.plan.phases == again.plan.phases
    assert first.decision() | {"costs": {}} == again.decision() | {"costs": {}}  # times are those of the machine
    assert first.fingerprint() == again.fingerprint()


def test_a_plan_for_another_backbone_or_other_classes_is_refused(photos, pretrained_weights):
    """An edited plan must still be for these images."""
    recommended = advisor.recommend(photos, backbone=BACKBONE)
    names = recommended.plan.class_names
    with pytest.raises(PlanError, match=r"MobileNet-0\.25"):
        recommended.with_plan(make_plan("head_only", "MobileNet-0.25", class_names=names, num_train=10))
    with pytest.raises(PlanError, match="zebra"):
        recommended.with_plan(make_plan("head_only", BACKBONE, class_names=["zebra", "horse"], num_train=10))


def test_training_writes_the_run_folder(photos, pretrained_weights, tmp_path):
    """Everything of the run, its metrics by their schema, and a report that names result and baseline."""
    recommended = advisor.recommend(photos, backbone=BACKBONE, recipe="head_only")
    result = recommended.train(tmp_path / "run")
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {
        "fingerprint.json", "plan.json", "pictures.json", "report.md", "report.html", "model.keras", "class_names.json",
        "history.csv", "images.csv", "metrics.json", "novelty.npz",
    }  # fmt: skip
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    check_schema(metrics, "metrics", package="strategies")
    check_schema(json.loads((tmp_path / "run" / "class_names.json").read_text()), "class_names", package="strategies")
    assert metrics["test"]["accuracy"] == result.test.accuracy
    report = (tmp_path / "run" / "report.md").read_text()
    assert f"{result.test.accuracy:.1%}" in report
    assert f"{result.test.majority_accuracy:.1%}" in report
    with pytest.raises(OutputError):
        recommended.train(tmp_path / "run")


def test_a_notebook_shows_the_advice_as_a_table(advice):
    """And the network as a picture; names are escaped, as `test_html.py` shows."""
    assert len(repr(advice["flowers5"])) < 200
    shown = advice["flowers5"]._repr_html_()
    assert "<table>" in shown
    assert 'class="network"' in shown
    assert advice["flowers5"].recipe in shown


def test_the_preference_is_kept_in_the_plan(photos, pretrained_weights):
    """And it changes the recipe only towards less time."""
    found = [advisor.recommend(photos, backbone=BACKBONE, prefer=name) for name in ("accuracy", "balanced", "speed")]
    assert [each.plan.advice["prefer"] for each in found] == ["accuracy", "balanced", "speed"]
    seconds = [each.costs[each.recipe].seconds for each in found]
    assert seconds[0] >= seconds[1] * 0.74
    assert seconds[1] >= seconds[2] * 0.74
    reached = [each.expected[each.recipe].accuracy for each in found]
    assert reached == sorted(reached, reverse=True)


def test_speed_leaves_out_the_refit_and_says_what_that_costs(photos, few_images, pretrained_weights):
    """The plans of all recipes that are trained by steps are shorter, and expected to reach less."""
    balanced, speed = (
        advisor.recommend(photos, backbone=BACKBONE, recipe="retrain_all", prefer=name)
        for name in ("balanced", "speed")
    )
    assert (balanced.plan.refit, speed.plan.refit) == (True, False)
    assert all(plan.refit for plan in plans_of(balanced).values())
    assert [name for name, plan in plans_of(speed).items() if plan.refit] == ["head_only"]
    for name in RECIPES:
        shorter = name != "head_only"
        assert (speed.costs[name].seconds < 0.8 * balanced.costs[name].seconds) == shorter
        less = balanced.expected[name].accuracy - speed.expected[name].accuracy
        assert less == pytest.approx(refit_gain(40) if shorter else 0)
    assert any("No refit" in reason for reason in speed.because)
    assert not any("No refit" in reason for reason in balanced.because)


def test_a_copy_of_every_image_changes_nothing(photos, pretrained_weights, tmp_path):
    """Copies are no further images, and none may be known already when it is held out."""
    shutil.copytree(photos, tmp_path / "twice")
    for path in sorted((tmp_path / "twice").rglob("*.png")):
        shutil.copy(path, path.with_name(f"copy_{path.name}"))
    recommended, twice = (
        advisor.recommend(folder, backbone=BACKBONE, image_size=32) for folder in (photos, tmp_path / "twice")
    )
    assert twice.profile.num_images == 2 * recommended.profile.num_images
    assert twice.profile.effective_num_images == recommended.profile.effective_num_images
    assert twice.similarity.score == pytest.approx(recommended.similarity.score)
    assert twice.depth_curve == recommended.depth_curve
    assert twice.recipe == recommended.recipe
    assert twice.confidence == pytest.approx(recommended.confidence)
    assert twice.plan.phases == recommended.plan.phases


def test_a_race_replaces_the_guess(photos, small_network, monkeypatch):
    """The recipes that may be best meet on the user's images, and the winner is what is advised."""
    monkeypatch.setattr("strategies.plans.planning.FEWEST_SEEN", 6400)
    recommended = advisor.recommend(photos, **small_network, race=True)
    assert recommended.recipe == recommended.race.winner
    assert recommended.recipe in recommended.race.candidates
    assert str(recommended.race) in recommended.because
    assert recommended.plan.advice["race"]["winner"] == recommended.plan.recipe
    assert "A race on your images decided" in str(recommended)
    plan_from_dict(recommended.plan.to_dict())


def test_what_loses_the_race_is_the_runner_up():
    """And a race that the advised recipe wins changes nothing but the reasons."""
    seconds = dict.fromkeys(RECIPES, 10.0)
    expected = expect(facts())
    decision = decide(facts(), expected, seconds)
    race = Race(
        candidates=(decision.recipe, decision.runner_up),
        rounds=(Round(num_images=100, accuracy={decision.recipe: 0.6, decision.runner_up: 0.7}),),
        winner=decision.runner_up,
        difference=0.1,
        standard_error=0.02,
        num_images=100,
        share=0.2,
        limit=0.5,
        seconds=9.0,
    )
    after = after_race(decision, race, expected)
    assert (after.recipe, after.runner_up) == (decision.runner_up, decision.recipe)
    kept = after_race(decision, replace(race, winner=decision.recipe), expected)
    assert (kept.recipe, kept.runner_up) == (decision.recipe, decision.runner_up)
    assert kept.because[:2] == (str(replace(race, winner=decision.recipe)), decision.because[0])
    assert kept.because[2].startswith("Before it: to judge by the study's")


def test_the_short_output_fits_on_a_screen_and_says_what_to_do_next(advice):
    """A table of four, the confidence and what it rests on; all the rest is for those who ask."""
    for recommended in advice.values():
        short = str(recommended)
        assert len(short.splitlines()) <= 20
        assert "Confidence: about" in short
        assert "those most like yours are" in short
        assert 'Next: advice.train("run/")' in short
        assert "Freeze map" not in short
        long = summarize(recommended, verbose=True)
        assert "Freeze map" in long
        assert "▲ yours" in long
        assert "between" in long


def test_a_training_is_shortened_to_fit_the_minutes(photos, small_network, tmp_path, monkeypatch, capsys):
    """The plan of the run says how many steps and why, and a run that goes on keeps them."""
    timed = []

    def measure(plan, data):
        timed.append(plan.recipe)
        cost = estimate_parts(plan, {name: data.split.count(name) for name in ("train", "val", "test")})
        return replace(cost, start=1.0, per_step=(1.0,) * len(cost.per_step), per_image=0.0, measured=True)

    monkeypatch.setattr("strategies.training.timing.measure_cost", measure)
    monkeypatch.setattr("strategies.plans.planning.FEWEST_SEEN", 640)
    monkeypatch.setattr("advisor.time_limit.AMPLE", 1e9)
    recommended = advisor.recommend(photos, **small_network, recipe="retrain_all")
    result = recommended.train(tmp_path / "run", minutes=TimeLimit(1, clock=lambda: 0.0), batch_size=8)
    assert timed == ["retrain_all"]
    percent = int(re.search(r"With 1 minute, retrain_all gets (\d+)% of its steps", capsys.readouterr().err)[1])
    assert 100 * LEAST_SHARE <= percent < 100
    assert result.plan.phases == with_budget(with_batch_size(recommended.plan, 8), percent / 100).phases
    written = read_plan(tmp_path / "run" / "plan.json")
    assert (written.digest(), written.batch_size) == (result.plan.digest(), 8)
    assert written.advice["because"][-1].startswith("With 1 minute, retrain_all gets")
    assert written.advice["costs"]["retrain_all"]["measured"]
    assert written.advice["costs"]["retrain_all"]["seconds"] < 60
    (tmp_path / "run" / "metrics.json").unlink()  # as if it had been interrupted
    again = recommended.train(tmp_path / "run", minutes=60, budget=0.5, resume=True)
    assert again.plan.digest() == result.plan.digest()
    assert timed == ["retrain_all"]
    head = recommended.train(minutes=TimeLimit(1, clock=iter([0.0, *[100.0] * 9]).__next__))  # it is over
    assert head.plan.recipe == "head_only"
    assert head.plan.advice["recipe"] == recommended.recipe
    with pytest.raises(UserError, match="without data_parallel"):
        recommended.train(minutes=5, data_parallel=True)
