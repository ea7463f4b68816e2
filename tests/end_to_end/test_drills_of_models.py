"""Drills: one thing goes wrong in a whole Evergreen, and who is on call is told of it, of nothing else, and of its end.

Here: a model, its rows and its labels.

Each duration of the rules we ship is a twentieth of what it is, and a minute at most (`tests.end_to_end.observing.sooner_rules`); model
time passes by the traffic, a day a second. All else is as it is in production.
"""

from __future__ import annotations

from contextlib import suppress

import psutil

from tests.end_to_end.drilling import DRILL, DRILLED, Begin, Drill
from tests.patience import until

pytestmark = DRILL


def test_no_labels_come_any_more(drill: Begin) -> None:
    scene = drill()

    scene.begin()
    scene.traffic.labelled_after = None
    scene.wait_for("EvergreenLabelsStopped")
    until(lambda: "EvergreenBlind" in scene.observed.prometheus.has_fired(), "without labels the loop is blind")
    scene.traffic.labelled_after = 1

    assert scene.mended() == ({"EvergreenLabelsStopped"}, {"EvergreenBlind"})


def test_labels_come_too_late(drill: Begin) -> None:
    slow = DRILLED.replace("labels: {delay: 1d}", "labels: {delay: 20d, too_late: 21d}")
    scene = drill(model_file=slow, days_per_second=0.5, labelled_after=19)

    scene.traffic.pass_days(10)
    scene.begin()
    scene.traffic.labelled_after = 23
    scene.wait_for("EvergreenLabelsTooLate")
    scene.traffic.labelled_after = 19

    assert scene.mended() == ({"EvergreenLabelsTooLate"}, set())


def test_a_model_is_overdue(drill: Begin) -> None:
    scene = drill()

    scene.begin()
    scene.evergreen("pause", "-m", "rain")
    scene.wait_for("EvergreenModelOverdue")
    scene.evergreen("resume", "-m", "rain")

    assert scene.mended() == ({"EvergreenModelOverdue"}, set())


def test_retrainings_fail(drill: Begin) -> None:
    scene = drill()

    scene.begin()
    until(lambda: kill_trainings(scene) and [one for one in scene.observed.notices() if one.status == "firing"])
    scene.wait_for("EvergreenRetrainingFails")

    assert scene.mended() == ({"EvergreenRetrainingFails"}, set())


def test_few_labels_come(drill: Begin) -> None:
    scene = drill()

    scene.begin()
    scene.traffic.labels_one_in = 4
    scene.wait_for("EvergreenBlind")
    scene.traffic.labels_one_in = 1

    assert scene.mended() == ({"EvergreenBlind"}, set())


def test_a_column_is_stuck(drill: Begin) -> None:
    scene = drill()

    scene.begin()
    scene.traffic.bend = lambda row: {**row, "cloud": 0.5}
    scene.wait_for("EvergreenDataFaults")
    scene.traffic.bend = dict

    assert scene.mended() == ({"EvergreenDataFaults"}, set())


def test_a_column_moves(drill: Begin) -> None:
    scene = drill()

    scene.begin()
    scene.traffic.bend = lambda row: {**row, "wind": 1.7 * row["wind"]}
    scene.wait_for("EvergreenDrift")
    scene.traffic.bend = dict

    assert scene.mended() == ({"EvergreenDrift"}, set())


def kill_trainings(scene: Drill) -> bool:
    """Kill every training child, as a kernel without memory does; true."""
    for process in psutil.Process(scene.processes.pid("monitoring")).children(recursive=True):
        with suppress(psutil.Error):
            if "retrain-run" in process.cmdline():
                process.kill()
    return True
