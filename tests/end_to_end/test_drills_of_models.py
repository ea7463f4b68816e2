"""Drills: one thing goes wrong in a whole Evergreen, and who is on call is told of it, of nothing else, and of its end.

Here: a model, its rows and its labels.

Each duration of the rules we ship is a twentieth of what it is, and a minute at most (`tests.end_to_end.observing.sooner_rules`); model
time passes by the traffic, a day a second. All else is as it is in production.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.end_to_end.drilling import CAUSE, DRILL, DRILLED, NOTIFIES, OFTEN_TRAINED, SELDOM_JUDGED, Begin, Drill
from tests.monitoring.watched import build_clock
from tests.patience import until

pytestmark = DRILL

BY_ARRIVAL = (
    NOTIFIES.replace("  time: {column: at, kind: ordinal, origin: 1970-01-01, step: 1m}\n", "")
    .replace("labels: {delay: 1d}", "labels: {delay: 5s}")
    .replace("every: 7d, window: 14d, bucket: 1d", "every: 1m, window: 2m, bucket: 1m")
)
MORE_THAN_AN_HOUR = 3700  # twice the shortest silence that is not usual, of the clock of service and monitor


def test_no_labels_come_any_more(drill: Begin) -> None:
    scene = drill(model_file=SELDOM_JUDGED)

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
    scene = drill(model_file=OFTEN_TRAINED)

    scene.begin()
    scene.evergreen("pause", "-m", "rain")
    scene.wait_for("EvergreenModelOverdue")
    scene.evergreen("resume", "-m", "rain")

    assert scene.mended() == ({"EvergreenModelOverdue"}, set())


def test_retrainings_fail(drill: Begin) -> None:
    scene = drill(model_file=OFTEN_TRAINED)

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


def test_answers_get_worse(drill: Begin) -> None:
    scene = drill(model_file=NOTIFIES)
    scene.traffic.pass_days(45)  # of which the baseline is made

    scene.begin()
    scene.traffic.flips = True
    scene.wait_for("EvergreenPerformance")
    scene.traffic.flips = False

    assert scene.mended() == ({"EvergreenPerformance"}, set())


def test_a_promotion_is_taken_back(drill: Begin) -> None:
    scene = drill()
    with scene.registry() as registry:
        other = scene.trained_aside(registry)
        scene.promote(registry, other)

        scene.begin()
        registry.roll_back("rain", expected=other.version, cause=CAUSE)
    scene.wait_for("EvergreenRolledBack")

    assert scene.mended() == ({"EvergreenRolledBack"}, set())


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler (cc), so no hour that passes at once")
def test_no_rows_come_any_more(drill: Begin, tmp_path: Path) -> None:
    build_clock(tmp_path)
    scene = drill(model_file=BY_ARRIVAL, LD_PRELOAD=str(tmp_path / "clock.so"), STEPPING_CLOCK=str(tmp_path / "step"))

    scene.begin()
    scene.traffic.rest()
    (tmp_path / "step").write_text(str(MORE_THAN_AN_HOUR))
    scene.wait_for("EvergreenSilence")
    scene.traffic.go_on()

    assert scene.mended() == ({"EvergreenSilence"}, set())


def kill_trainings(scene: Drill) -> bool:
    """Kill every training child, as a kernel without memory does; true."""
    for process in psutil.Process(scene.processes.pid("monitoring")).children(recursive=True):
        with suppress(psutil.Error):
            if "retrain-run" in process.cmdline():
                process.kill()
    return True
