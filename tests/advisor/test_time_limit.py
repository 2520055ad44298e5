"""What fits into a number of minutes: which plans, and which share of their steps."""

from dataclasses import replace

import numpy as np
import pytest

from advisor.time_limit import AMPLE, LEAST_SHARE, MARGIN, TimeLimit, begin, fit
from strategies.data.loading import load_dataset
from strategies.data.splits import split_dataset
from strategies.errors import UserError
from strategies.plans.cost import PlanCost
from strategies.plans.planning import make_plan


@pytest.fixture(scope="module")
def data():
    """Noise in two classes, with its split."""
    images = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype="uint8")
    return split_dataset(load_dataset((images, [0, 1] * 20)), seed=0)


@pytest.fixture(scope="module")
def plans(data, small_network):
    """Recipe -> its plan of 100 steps and no refit, for a network of the user's own."""
    found = {}
    for name in ("head_only", "fine_tune_all", "retrain_all"):
        plan = make_plan(name, class_names=data.class_names, num_train=28, **small_network)
        phases = [replace(phase, steps=100 * phase.has_steps) for phase in plan.phases]
        found[name] = replace(plan, phases=tuple(phases), refit=False)
    return found


@pytest.fixture
def timed(monkeypatch):
    """The plans that were timed: each takes two seconds to begin, and one for each step. The estimate is half of it."""
    found = []

    def cost(plan, seconds):
        steps = sum(phase.has_steps for phase in plan.phases)
        return PlanCost(
            plan=plan,
            images=dict.fromkeys(("train", "val", "test"), 10),
            start=2 * seconds,
            per_step=(seconds,) * steps,
            per_image=0.0,
        )

    def measure(plan, dataset):
        found.append(plan.recipe)
        return cost(plan, 1.0)

    monkeypatch.setattr("advisor.time_limit.estimate_parts", lambda plan, images, cache: cost(plan, 0.5))
    monkeypatch.setattr("strategies.training.timing.measure_cost", measure)
    return found


def _limit(minutes):
    """A limit on a clock that stands still."""
    return TimeLimit(minutes, clock=lambda: 0.0)


def test_the_minutes_begin_when_they_are_given():
    """What was begun goes on; a number begins now."""
    times = iter([10.0, 40.0, 90.0])
    limit = TimeLimit(1, clock=lambda: next(times))
    assert begin(limit) is limit
    assert [limit.seconds_left, limit.seconds_left] == [30, -20]
    assert (str(limit), str(TimeLimit(2.5))) == ("1 minute", "2.5 minutes")
    assert 59 < begin(1).seconds_left <= 60


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), float("inf")])
def test_a_limit_that_is_no_time_is_refused(minutes):
    """In a sentence that says what was received."""
    with pytest.raises(UserError, match=f"Received: minutes={minutes}"):
        begin(minutes)


def test_a_plan_gets_the_largest_share_of_its_steps_that_fits(data, plans, timed):
    """One plan is timed, and the estimates of all are corrected by it. A tenth of the time is left over."""
    choice = [plans["retrain_all"], plans["head_only"]]
    half = (2 + 2 + 50) / 60 / MARGIN
    found = fit([choice], data, _limit(1.001 * half))
    assert (found.share, found.left_out, timed) == (0.5, (), ["retrain_all"])
    assert [cost.start for cost in found.costs] == [2, 2]
    assert [cost.measured for cost in found.costs] == [True, False]
    assert found.sentence(_limit(4)) == "With 4 minutes, retrain_all gets 50% of its steps."
    assert fit([choice], data, _limit(0.999 * half)).share == 0.49


def test_nothing_is_timed_if_there_is_ample_time(data, plans, timed):
    """The estimate is near enough."""
    found = fit([[plans["retrain_all"]]], data, _limit(1.01 * AMPLE * (1 + 50) / 60))
    assert (found.share, timed) == (1, [])
    assert found.sentence(_limit(60)) == "With 60 minutes, retrain_all gets all of its steps."


def test_the_next_choice_is_taken_if_too_few_steps_fit(data, plans, timed):
    """The last one is taken in any case, with what fits of it, even when the time is over."""
    whole = plans["fine_tune_all"]
    shorter = replace(whole, phases=(whole.phases[0], replace(whole.phases[1], steps=10)))
    choices = [[plans["retrain_all"]], [shorter], [plans["head_only"]]]
    found = fit(choices, data, _limit((2 + 6) / 60 / MARGIN * 1.001))
    assert [cost.plan for cost in found.costs] == [shorter]
    assert (found.share, found.left_out) == (0.6, ("retrain_all",))
    assert found.sentence(_limit(1)) == (
        f"With 1 minute, there is no time for {LEAST_SHARE:.0%} of the steps of retrain_all: fine_tune_all gets 60% of "
        "its steps."
    )
    timed.clear()
    for last, share, end in (
        ("head_only", 0.01, "head_only is trained"),
        ("retrain_all", 0.01, "gets 1% of its steps, too few to judge it by"),
    ):
        over = TimeLimit(1, clock=iter([0.0, *[100.0] * 9]).__next__)
        found = fit([*choices[:1], [plans[last]]], data, over)
        assert ([cost.plan.recipe for cost in found.costs], found.share) == ([last], share)
        assert found.sentence(over).endswith(f"{end}.")
    assert timed == []  # there was no time for it


def test_several_plans_get_the_same_share(data, plans, timed):
    """And fewer plans more of it."""
    everything = list(plans.values())
    fewer = [plans["head_only"], plans["retrain_all"]]
    found = fit([everything, fewer], data, _limit((6 + 2 * 40) / 60 / MARGIN * 1.001))
    assert (len(found.costs), found.share) == (3, 0.4)
    assert found.sentence(_limit(9)) == f"With 9 minutes, each recipe gets {found.share:.0%} of its steps."
    found = fit([everything, fewer], data, _limit((4 + 1.5 * 100 * LEAST_SHARE) / 60 / MARGIN))
    assert found.left_out == ("fine_tune_all",)
    assert f"of the steps of fine_tune_all: retrain_all gets {found.share:.0%}" in found.sentence(_limit(1))
