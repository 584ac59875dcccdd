"""Tasks of kind ``frames``: which models and evaluations fit them."""

import pytest

from elasticast.config.evaluation import Boxes, Detection
from tests.complaints import complains
from tests.unit.config.test_config import DATASET, E, changed, keys, load, problems  # noqa: F401

TIMED = DATASET | {"event_times": True}
TASK = (f"{E}.task", "timed_events")
HEAD = (f"{E}.model.frame_head", True)


def only_elastic(suite):
    suite["experiments"] = {"elastic": suite["experiments"]["elastic"]}
    return suite


def test_a_task_with_events_is_accepted(load):  # noqa: F811
    suite = load(only_elastic(changed(TASK, HEAD)), TIMED)
    assert suite.task_kind("elastic") == "frames"


def test_data_without_times_have_no_such_task(problems):  # noqa: F811
    (problem,) = problems(only_elastic(changed(TASK, HEAD)))
    assert (keys([problem]), problem.value) == ([f"{E}.task"], "timed_events")


@pytest.mark.parametrize(
    ("changes", "key", "value"),
    [
        ([], "model.frame_head", False),
        ([HEAD, (f"{E}.train.loss", "ce")], "train.loss", "ce"),
        (
            [HEAD, (f"{E}.train.spec_augment", {"warp": {"kind": "released", "frames": 5}})],
            "train.spec_augment.warp.kind",
            "released",
        ),
        (
            [
                HEAD,
                (f"{E}.train.distill", {"teacher": "weights", "weight": 0.5}),
                (f"{E}.train.event_loss", {"clips": 0.0}),
            ],
            "train.event_loss.clips",
            0.0,
        ),
    ],
)
def test_what_does_not_fit_events_is_named(problems, changes, key, value):  # noqa: F811
    (problem,) = problems(only_elastic(changed(TASK, *changes)), TIMED)
    assert (keys([problem]), problem.value) == ([f"{E}.{key}"], value)


def test_events_do_not_follow_the_wider_patches_of_a_phase(problems):  # noqa: F811
    phases = [{"compression": 2.0, "share": 0.5, "resolution": "patch"}, {"compression": 1.0, "share": 0.5}]
    (problem,) = problems(only_elastic(changed(TASK, HEAD, (f"{E}.train.phases", phases))), TIMED)
    assert (keys([problem]), problem.value) == ([f"{E}.train.phases"], phases)


def test_a_model_that_cannot_have_a_frame_head_is_named(problems):  # noqa: F811
    suite = only_elastic(changed(TASK))
    suite["experiments"]["elastic"]["model"] = {"kind": "aum"}
    found = problems(suite, TIMED)
    assert (f"{E}.model.kind", "aum") in [(keys([p])[0], p.value) for p in found]


def test_a_random_time_offset_is_named(problems):  # noqa: F811
    suite = only_elastic(changed(TASK))
    suite["experiments"]["elastic"]["model"] = {"kind": "ast", "frame_head": True, "time_offset": True}
    suite["experiments"]["elastic"]["view"] = {"frames": 64, "fill": "mask"}
    found = problems(suite, TIMED)
    assert f"{E}.model.time_offset" in keys(found)


def test_a_task_of_clips_trains_no_frame_head(problems):  # noqa: F811
    (problem,) = problems(only_elastic(changed(HEAD)), TIMED)
    assert (keys([problem]), problem.value) == ([f"{E}.model.frame_head"], True)


def test_detection_is_for_events(problems):  # noqa: F811
    name = next(iter(changed()["evaluations"]))
    used = changed((f"{E}.evaluations", [name]), (f"evaluations.{name}.detection", {"threshold": 0.3}))
    found = problems(only_elastic(used), TIMED)
    assert keys(found) == [f"{E}.evaluations.{name}.detection"]


def test_boxes_follow_from_scores_that_are_not_filtered():
    assert Detection(boxes=Boxes()).boxes.window == 0.5
    with complains(ValueError, "median_seconds", "0.3"):
        Detection(boxes=Boxes(), median_seconds=0.3)


@pytest.mark.parametrize("wrong", [{"median_seconds": -0.1}, {"threshold": 1.5}, {"boxes": {"window": 0.0}}])
def test_impossible_values_are_refused(wrong):
    with complains(ValueError, *wrong):
        Detection.model_validate(wrong)
