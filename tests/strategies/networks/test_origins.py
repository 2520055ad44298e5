"""Backbones whose name says where their model is, and plans that describe a backbone."""

import json

import keras
import numpy as np
import pytest
from networks import STAGES, small

import strategies
from strategies.errors import PlanError, UnknownNameError, UserError
from strategies.networks.backbones import BACKBONES, get_backbone
from strategies.networks.pretrained import build_backbone
from strategies.plans.plan import read_plan

pytestmark = pytest.mark.usefixtures("own_backbones")


@pytest.fixture
def file(tmp_path):
    """A small network as a user's own file."""
    small().save(tmp_path / "company.keras")
    return str(tmp_path / "company.keras")


def _plan(name, recipe="keep_early_layers"):
    return strategies.make_plan(recipe, name, class_names=["china", "flower"], num_train=28, budget=0.001)


def test_the_path_of_a_file_is_the_name_of_a_backbone(file):
    """It is loaded when it is named for the first time, and its stages are found."""
    row = get_backbone(file)
    assert get_backbone(file) is row
    assert row.found_stages
    pixels = np.random.default_rng(0).uniform(0, 255, (2, *row.model.input_shape[1:])).astype("float32")
    np.testing.assert_allclose(build_backbone(row)(pixels), keras.models.load_model(file)(pixels), atol=1e-5)


def test_a_file_is_trained_by_name_and_its_run_needs_it_no_more(advisor, file, photos, tmp_path):
    """The plan describes it: it can be carried out again while the file is there, and reports need no file."""
    layers = list(STAGES.values())
    options = ("--recipe", "head_only", "--stages", ", ".join(layers), "--preprocessing", "-1..1")
    code, _, errors = advisor("train", photos, "--backbone", file, *options, "--out", tmp_path / "run")
    assert code == 0, errors
    BACKBONES.pop(file)
    plan = read_plan(tmp_path / "run" / "plan.json")
    row = plan.network.row
    assert [stage.last_layer for stage in row.stages][:-1] == layers[:-1]  # the last is renamed: plans have a "pool"
    assert (row.preprocessing, row.found_stages, row.model) == ("-1..1", False, None)
    assert strategies.build_model(plan).output_shape == (None, 2)
    assert plan.network.row.model is not None
    BACKBONES.pop(file)
    (tmp_path / "company.keras").rename(tmp_path / "moved.keras")
    for command in (("report", tmp_path / "run"), ("evaluate", tmp_path / "run", photos)):
        code, _, errors = advisor(*command)
        assert code == 0, errors
    code, _, errors = advisor("train", photos, "--plan", tmp_path / "run" / "plan.json", "--out", tmp_path / "again")
    assert code == 2
    assert "Expected a .keras file that Keras loads in safe mode." in errors


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--backbone", "MobileNetV2-0.35", "--stages", "a,b"), "Expected the path of a .keras file as backbone"),
        (("--stages", "a,b"), "Expected the path of a .keras file as backbone"),
        (("--backbone", "{file}", "--stages", "a,b"), "Unknown layer of {file} 'a'"),
        (("--backbone", "{file}", "--preprocessing", "imagenet"), "Unknown preprocessing 'imagenet'"),
        (("--plan", "{plan}", "--stages", "a,b"), "Expected a plan for --stages ['a', 'b']."),
        (("--plan", "{plan}", "--preprocessing", "torch"), "Expected a plan for --preprocessing torch."),
    ],
    ids=["a network of Keras", "no backbone", "stages", "preprocessing", "stages of a plan", "preprocessing of a plan"],
)
def test_stages_and_preprocessing_must_fit(options, sentence, advisor, file, photos, tmp_path):
    """One sentence on stderr, before any image is read."""
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(_plan(file).to_dict()))
    given = [option.format(file=file, plan=path) for option in options]
    code, _, errors = advisor("train", photos, *given, "--out", tmp_path / "run")
    assert (code, errors.count("\n")) == (2, 1)
    assert sentence.format(file=file) in errors


def test_a_plan_describes_a_backbone_that_was_added(tmp_path):
    """Elsewhere it can be read and looked at; to carry it out, the model is needed."""
    strategies.add_backbone("mine", small(), stages=STAGES)
    plan = _plan("mine")
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(plan.to_dict()))
    row = BACKBONES.pop("mine")
    read = read_plan(path)
    assert read == plan
    assert read.network.row == row.__class__(**{**row.__dict__, "model": None})
    with pytest.raises(UserError, match=r"Expected the model of 'mine'. Received: only what a plan says of it."):
        strategies.build_model(read)
    strategies.add_backbone("mine", small(), stages=STAGES)
    assert read_plan(path).network.row.model is not None


def test_a_description_that_contradicts_the_backbone_is_refused(file, tmp_path):
    """So is a plan of a user's own network without one, and one whose file now holds another network."""
    path = tmp_path / "plan.json"

    def write(**changed):
        path.write_text(json.dumps({**values, **changed}))

    values = _plan(file).to_dict()
    write(backbone="MobileNetV2-0.35")
    with pytest.raises(UserError, match=r"Expected no description of 'MobileNetV2-0.35', which is a network of Keras"):
        read_plan(path)
    write(own_backbone={**values["own_backbone"], "stages": []})
    with pytest.raises(PlanError, match="own_backbone/stages"):
        read_plan(path)
    BACKBONES.pop(file)
    stages = [{**stage, "last_layer": f"other{index}"} for index, stage in enumerate(values["own_backbone"]["stages"])]
    write(own_backbone={**values["own_backbone"], "stages": stages})
    with pytest.raises(UserError, match="Expected the network for which the plan was made, with stages that end at"):
        strategies.build_model(read_plan(path))
    del BACKBONES[file], values["own_backbone"]
    write(backbone="mine")
    with pytest.raises(UnknownNameError, match=r"Unknown backbone 'mine'.* strategies.add_backbone first"):
        read_plan(path)
