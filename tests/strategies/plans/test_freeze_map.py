"""The freeze map, derived from the phases of a plan."""

from strategies.plans.freeze_map import FreezeCell, derive_freeze_map
from strategies.plans.phase import Phase
from strategies.plans.planning import make_plan


def test_a_backbone_without_batch_norm_has_no_policy_for_it():
    """VGG16 has no BatchNormalization."""
    plan = make_plan("retrain_all", "VGG16", class_names=["cat", "dog"], num_train=80)
    assert {cell.batch_norm for row in plan.freeze_map for cell in row.cells} == {None}


def test_each_stage_has_a_cell_for_each_phase():
    """Kept stages are frozen or trained, rebuilt ones and the classifier are new, all others are removed."""
    train = {"mode": "train", "momentum": 0.9}
    rows = derive_freeze_map(
        stages=["early", "middle", "late"],
        kept=["early"],
        rebuilt=["middle"],
        phases=[
            Phase(name="head", trains=("classifier",), learning_rate={}, solver="logistic"),
            Phase(
                name="all",
                trains=("early", "middle", "classifier"),
                learning_rate={"early": 1e-4, "middle": 1e-3, "classifier": 1e-3},
                batch_norm={"middle": train},
                steps=10,
            ),
        ],
        has_batch_norm=True,
        parameters={"early": 5},
    )
    assert [(row.stage, row.origin, row.parameters) for row in rows] == [
        ("early", "pretrained", 5),
        ("middle", "new_from_pretrained", None),
        ("late", "removed", None),
        ("top", "removed", None),
        ("classifier", "new", None),
    ]
    early, middle, late, _, classifier = (row.cells for row in rows)
    assert early == (
        FreezeCell(phase="head", state="frozen", learning_rate=None, batch_norm="inference"),
        FreezeCell(phase="all", state="trained", learning_rate=1e-4, batch_norm="inference"),
    )
    assert middle[1] == FreezeCell(phase="all", state="new", learning_rate=1e-3, batch_norm="train, momentum 0.9")
    assert late[0] == FreezeCell(phase="head", state="removed", learning_rate=None, batch_norm=None)
    assert [cell.state for cell in classifier] == ["new", "new"]
    assert classifier[1].batch_norm is None
