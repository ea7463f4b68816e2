"""What is said of drift under the sequential rule."""

from __future__ import annotations

from dataclasses import replace

from monitoring.drift.watch_report import OpenEpisode, WatchedColumn, WatchReport

MUTED = OpenEpisode(1, 0, (("rain", 0.4),), is_new=False, is_muted=True)
OPEN = OpenEpisode(2, 86_400_000_000, tuple((f"x{n}", 0.9 - n / 10) for n in range(7)), is_new=True, is_muted=False)
COLUMN = WatchedColumn("x0", 0.9, 0.01, 4.5, 86_400_000_000, 0.0, is_drifting=True)


def test_an_open_episode_is_told_and_a_muted_one_is_not() -> None:
    report = WatchReport((COLUMN,), 50, "b", episodes=(MUTED, OPEN))

    assert report.drifting == tuple(f"x{n}" for n in range(7))
    assert report.notices() == (
        "drift in x0 (PSI 0.90), x1 (PSI 0.80), x2 (PSI 0.70), x3 (PSI 0.60), x4 (PSI 0.50) and 2 more"
        " since about 1970-01-02 00:00 (episode 2)",
    )


def test_a_distance_below_chance_is_told_as_none() -> None:
    few = replace(OPEN, columns=(("x where place=b", -2.51),))

    assert few.sentence() == "drift in x where place=b (PSI 0.00) since about 1970-01-02 00:00 (episode 2)"


def test_what_ended_and_what_is_not_known_asks_nobody_to_look() -> None:
    report = WatchReport((), 5, "b", note="too few rows", ended=("episode 1 (rain) ended: calm",))

    assert (report.notices(), report.remarks()) == ((), ("episode 1 (rain) ended: calm", "too few rows"))


def test_the_evidence_is_plain_json() -> None:
    stored = WatchReport((COLUMN,), 50, "b", log10_evidence=3.25, log10_threshold=float("nan"), episodes=(MUTED, OPEN)).to_dict()

    assert (stored["rule"], stored["log10_evidence"], stored["log10_threshold"]) == ("sequential", 3.25, None)
    assert stored["columns"][0]["since"] == "1970-01-02T00:00:00+00:00"
    assert [e["muted"] for e in stored["episodes"]] == [True, False]


def test_of_thousands_of_columns_a_verdict_keeps_the_hundred_that_drift_most_or_speak_most_for_it() -> None:
    calm = [replace(COLUMN, column=f"x{n} where y={n}", is_drifting=False, log10_evidence=n / 1000) for n in range(5000)]
    silent = replace(COLUMN, column="silent", is_drifting=False, log10_evidence=None)

    stored = WatchReport((silent, *calm, replace(COLUMN, log10_evidence=None)), 50, "b").to_dict()

    names = [column["column"] for column in stored["columns"]]
    assert (len(names), stored["columns_left_out"]) == (100, 4902)
    assert names[:2] == ["x0", "x4999 where y=4999"]
    assert "silent" not in names
