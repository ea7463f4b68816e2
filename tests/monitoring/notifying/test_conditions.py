"""What begins and what ends, slot by slot: what nobody knows neither begins nor ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from monitoring.drift.classic import ColumnDrift, DriftReport
from monitoring.drift.watch_report import OpenEpisode, WatchReport
from monitoring.journal.outbox import Message, StoredMessage
from monitoring.judging.cohorts import Cohorts, Maturity
from monitoring.judging.data_faults import Fault
from monitoring.judging.labels.coverage import Cohort, CoverageRule
from monitoring.judging.labels.faults import LabelFault, LabelFindings
from monitoring.judging.performance.baseline import Baseline
from monitoring.judging.performance.bets import null_of
from monitoring.judging.performance.disparity import Disparity
from monitoring.judging.performance.harm import HarmLook, HarmState
from monitoring.judging.performance.scores import Score, compare
from monitoring.judging.performance.watch import Episode, HarmTest
from monitoring.judging.verdict import Evidence, Labels, Verdict
from monitoring.notifying.conditions import slot_messages

STUCK, AWAY = Fault("constant", "cloud", 3, 9, 56, 1.0, 0.1), Fault("null_burst", "wind", 4, 9, 56, 0.6, 0.1)
CALM = Evidence("rain", 10, "v1", 800, WatchReport((), 800, "b"), (), (), Labels(50, 2000, 1.0, 0))
DRIFTING = ColumnDrift("cloud", 0.5, 0.1, 1e-9, 1e-9, 0.4, 1e-9, 0.0, 0.0, True)
BROKEN = LabelFault("labels_constant", 2, 6, 80, 1.0, 0.4, "yes")


def scored(now: float) -> Evidence:
    before, live = Score("accuracy", 0.8, 0.79, 0.81, 3000), Score("accuracy", now, now - 0.02, now + 0.02, 400)
    return replace(CALM, performance=compare(live, before, source="x", level=0.01, tolerance=0.02, through_us=0))


def harmed(is_open: bool, *ended: tuple[int, int]) -> Evidence:
    """Return a slot with a test against the baseline; of episodes that ended since the last one with their beginnings and ends."""
    now = Episode(8, HarmState(9)) if is_open else None
    over = tuple(Episode(since_us, HarmState(end_us, end_us)) for since_us, end_us in ended)
    seen = HarmLook(1.0, 3.9, False, None, 0, 0.0)
    null = null_of(Baseline("miss", 0, 5, 1500, 28, 0.2, 0.16, 1.0, 50.0, 0.21), 0.02)
    return replace(CALM, performance=HarmTest(None, null, None, 0.02, seen, 9, now, None if now is None else seen, over))


def apart(*episodes: tuple[str, bool], ended: int | None = None) -> Evidence:
    """Return a slot with segments, and whether they are worse against the rest; the first one was until some time."""
    seen = HarmLook(1.0, 3.9, False, 4, 100, 0.3)
    over = () if ended is None else (Episode(2, HarmState(ended, ended)),)
    some = [Disparity(name, "miss", 0.02, 0.01, seen, is_open, () if at else over) for at, (name, is_open) in enumerate(episodes)]
    return replace(CALM, disparities=tuple(some))


def watched(*episodes: OpenEpisode, ended: Sequence[str] = ()) -> Evidence:
    return replace(CALM, drift=WatchReport((), 800, "b", episodes=episodes, ended=tuple(ended)))


def labelled(*faults: LabelFault, aside_until: int = 6, covered_from: int | None = None, blind: str | None = None) -> Evidence:
    """Return a slot with what is known of labels."""
    counts = np.array([30, 30, 30, 0])
    cohorts = () if covered_from is None else (Cohort(covered_from, covered_from + 5, counts, counts, True),)
    findings = LabelFindings(faults, aside=(replace(BROKEN, end_us=aside_until).span,))
    judged = Cohorts({}, Maturity(10, 9, 1, 1), CoverageRule(0.9, 10, 1, 1), (), cohorts, True, blind, findings=findings)
    return replace(CALM, cohorts=judged)


def replay(*slots: Evidence, without_rows: Sequence[int] = ()) -> list[list[str]]:
    """Return the types of the messages of some slots, one after the other; of some no row came."""
    open_ones: dict[str, StoredMessage] = {}
    types = []
    for number, evidence in enumerate(slots):
        evidence = replace(evidence, slot_us=10 + number)
        messages = slot_messages(evidence, Verdict("keep", ()), open_ones, has_rows=number not in without_rows)
        types.append([one.type for one in messages])
        for one in messages:
            stored = kept(one)
            open_ones = {**open_ones, stored.subject: stored} if one.type.endswith("began") else without(open_ones, stored.subject)
    return types


def kept(message: Message) -> StoredMessage:
    return StoredMessage("msg_1", message.model, message.type, 0, message.content, message.incident)


def without(known: dict[str, StoredMessage], subject: str) -> dict[str, StoredMessage]:
    return {name: one for name, one in known.items() if name != subject}


def episode(number: int, *, is_muted: bool = False) -> OpenEpisode:
    return OpenEpisode(number, 5, (("cloud", 0.43),), False, is_muted)


@pytest.mark.parametrize(
    ("slots", "types"),
    [
        ([CALM, CALM], [[], []]),
        ([watched(episode(1)), watched(episode(1)), watched()], [["drift.began"], [], ["drift.ended"]]),
        ([watched(episode(1)), watched(episode(1), episode(2)), watched(episode(2))], [["drift.began"], ["drift.began"], ["drift.ended"]]),
        ([watched(episode(1, is_muted=True)), watched(episode(1)), watched(episode(1, is_muted=True)), watched()],
         [[], ["drift.began"], [], ["drift.ended"]]),
        ([replace(CALM, drift=DriftReport((DRIFTING,), 800, 800, "b")), replace(CALM, drift=DriftReport((), 0, 0, "b")),
          replace(CALM, drift=DriftReport((), 800, 800, "b"))], [["drift.began"], [], ["drift.ended"]]),
        ([scored(0.6), CALM, scored(0.6), scored(0.8)], [["performance.began"], [], [], ["performance.ended"]]),
        ([scored(0.6), replace(CALM, is_worse=True), replace(CALM, is_worse=False), CALM],
         [["performance.began"], [], ["performance.ended"], []]),
        ([harmed(True), harmed(True), harmed(False, (8, 12))], [["performance.began"], [], ["performance.ended"]]),
        ([harmed(False, (2, 4), (6, 8)), harmed(False)], [["performance.began", "performance.ended"] * 2, []]),
        ([harmed(True), harmed(True, (2, 4)), harmed(False)],
         [["performance.began"], ["performance.ended", "performance.began"], ["performance.ended"]]),
        ([apart(("c=u", True), ("c=v", False)), apart(("c=u", True), ("c=v", True)), apart(("c=u", False), ("c=v", True)), CALM],
         [["disparity.began"], ["disparity.began"], ["disparity.ended"], ["disparity.ended"]]),
        ([apart(("c=u", False), ended=8), apart(("c=u", False))], [["disparity.began", "disparity.ended"], []]),
        ([labelled(blind="blind: 12%"), labelled(blind="blind: 13%"), CALM, labelled()],
         [["blindness.began"], [], [], ["blindness.ended"]]),
        ([labelled(BROKEN), labelled(), labelled(covered_from=5), labelled(covered_from=6)],
         [["label_fault.began"], [], [], ["label_fault.ended"]]),
    ],
    ids=["calm", "drift", "two drifts", "muted", "classic", "performance", "accepted", "harm", "harm that passed",
         "harm again", "segments", "a segment that passed", "blindness", "labels"],
)  # fmt: skip
def test_what_lasts_is_told_at_its_beginning_and_at_its_end(slots: list[Evidence], types: list[list[str]]) -> None:
    assert replay(*slots) == types


def test_what_began_and_ended_since_the_last_slot_is_told_with_its_own_times() -> None:
    evidence = harmed(False, (2, 4), (6, 8))

    messages = slot_messages(evidence, Verdict("keep", ()), {}, has_rows=True)

    assert [one.content["since"][-8:-6] for one in messages[::2]] == ["02", "06"]
    assert [one.content["until"][-8:-6] for one in messages[1::2]] == ["04", "08"]
    assert [one.incident for one in messages] == ["performance@2"] * 2 + ["performance@6"] * 2
    assert "share of wrong answers was worse than 0.2 in the baseline" in messages[0].content["evidence"][0]
    assert evidence.remarks() == tuple(one.content["evidence"][0] for one in messages[::2])


def test_each_broken_column_is_told_and_without_rows_nobody_knows_whether_it_is_over() -> None:
    both, one = replace(CALM, faults=(STUCK, AWAY, replace(STUCK, start_us=5))), replace(CALM, faults=(STUCK,))

    types = replay(one, both, CALM, one, CALM, without_rows=[2])

    assert types == [["data_fault.began"], ["data_fault.began"], [], ["data_fault.ended"], ["data_fault.ended"]]


def test_a_message_holds_since_when_why_what_was_done_and_what_to_do() -> None:
    [began] = slot_messages(watched(episode(7)), Verdict("watch", ()), {}, has_rows=True)
    ended = watched(ended=["episode 7 (cloud) ended: a window below the floor", "episode 70 (wind) ended: so"])
    [over] = slot_messages(replace(ended, slot_us=11), Verdict("keep", (), is_dry=True), {"drift:7": kept(began)}, has_rows=True)

    assert began.content["summary"] == "rain: drift in cloud"
    assert began.content["since"] == over.content["since"] == "1970-01-01T00:00:00.000005+00:00"
    assert began.content["evidence"] == ["drift in cloud (PSI 0.43) since about 1970-01-01 00:00 (episode 7)"]
    assert began.content["facts"]["columns"] == {"cloud": 0.43}
    assert began.content["next"][0] == "evergreen episodes --model rain"
    assert (began.incident, began.slot_us) == (over.incident, over.slot_us - 1)  # type: ignore[operator]
    assert (over.content["summary"], over.content["until"]) == ("rain: over: drift in cloud", "1970-01-01T00:00:00.000011+00:00")
    assert over.content["evidence"] == ["episode 7 (cloud) ended: a window below the floor"]
    assert [began.content["done"], over.content["done"]] == [
        "nothing was changed: the next slot looks again", "nothing: the loop of this model only notifies, or is paused"]  # fmt: skip
