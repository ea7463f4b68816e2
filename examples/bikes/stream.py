"""A simulated bike-hire stream: will this station run empty within the hour?

One year of history and one live year, about 56 rows a day, seeded: the same seed gives the same rows, byte for byte. What
happens on the live time line is in `EVENTS`; ``events=False`` gives the same stream without them (the negative control).

>>> rows = live(seed=0, days=2)
>>> list(rows.columns) == list(history(seed=0, days=1).columns)
True
>>> bool(rows["observed_at"].is_monotonic_increasing)
True
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import poisson

HISTORY_START = datetime(2023, 1, 1, tzinfo=UTC)
LIVE_START = datetime(2024, 1, 1, tzinfo=UTC)
YEAR_DAYS = 365
ROWS_PER_DAY = 56


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happens on the live time line, from its first day to its last (``None``: it stays)."""

    name: str
    first: datetime
    last: datetime | None
    kind: str
    happens: str

    def holds(self, days: np.ndarray) -> np.ndarray:
        """Return which days (since 1970, fractional) fall into the event, shape `(n_rows,)`."""
        inside = days >= _day(self.first)
        return inside if self.last is None else inside & (days < _day(self.last))


NEW_DISTRICT = Event(
    "new district", datetime(2024, 3, 1, tzinfo=UTC), None, "new category", "Stations open at the harbour: a tenth of the rows."
)
SENSOR = Event(
    "recalibrated sensor", datetime(2024, 5, 1, tzinfo=UTC), None, "covariate drift", "Anemometers read 40 % more wind than before."
)
FARE_CHANGE = Event(
    "fare change",
    datetime(2024, 7, 1, tzinfo=UTC),
    None,
    "concept change",
    "Short rides become free: demand moves to visitors, afternoons and warm days.",
)
OUTAGE = Event(
    "upstream outage",
    datetime(2024, 10, 8, tzinfo=UTC),
    datetime(2024, 10, 13, tzinfo=UTC),
    "data fault",
    "The feed sends constants for bikes and departures; labels go on.",
)
EVENTS = (NEW_DISTRICT, SENSOR, FARE_CHANGE, OUTAGE)

DISTRICTS = np.array(["old town", "station", "campus", "riverside", "hills", "docks"], dtype=object)
DISTRICT_PULL = np.array([0.5, 0.7, 0.1, -0.1, -0.8, -0.2])
DISTRICT_SHARE = np.array([0.22, 0.20, 0.18, 0.16, 0.12, 0.12])
HARBOUR = "harbour"
WEATHERS = np.array(["clear", "clouds", "rain", "snow"], dtype=object)
FARE_PLANS = np.array(["day", "month", "year"], dtype=object)


def history(seed: int = 0, days: int = YEAR_DAYS) -> pd.DataFrame:
    """Return the year before the model went live: labelled rows, ordered by `observed_at`."""
    return _stream(np.random.default_rng([seed, 1]), HISTORY_START, days, events=False)


def live(seed: int = 0, events: bool = True, days: int = YEAR_DAYS) -> pd.DataFrame:
    """Return the live year with its true labels, ordered by `observed_at`; without `events`, nothing but the seasons happens."""
    return _stream(np.random.default_rng([seed, 2]), LIVE_START, days, events=events)


def _stream(rng: np.random.Generator, start: datetime, days: int, *, events: bool) -> pd.DataFrame:
    """Draw `days` of rows. Every random number is drawn whether or not an event uses it, so both controls share their noise."""
    seconds = _arrivals(rng, days)
    n = len(seconds)
    day = _day(start) + seconds / 86400.0
    nothing = np.zeros(n, dtype=bool)

    def during(event: Event) -> np.ndarray:
        return event.holds(day) if events else nothing

    sky = _sky(rng, day, days)
    station = _station(rng, sky, new=(rng.random(n) < 0.10) & during(NEW_DISTRICT))
    risk = 1.0 / (1.0 + np.exp(-_logit(sky, station, new_fares=during(FARE_CHANGE))))
    runs_empty = rng.random(n) < risk
    outage = during(OUTAGE)
    return pd.DataFrame(
        {
            "observed_at": pd.to_datetime(np.int64(start.timestamp()) + seconds, unit="s", utc=True).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "district": station["district"],
            "weather": _missing(rng, sky["weather"], 0.02),
            "fare_plan": station["fare_plan"],
            "holiday": sky["holiday"],
            "docks": station["docks"],
            "bikes_available": np.where(outage, 0, station["bikes"]),
            "departures_last_hour": np.where(outage, 0, station["departures"]),
            "arrivals_last_hour": station["arrivals"],
            "temperature": _missing(rng, np.round(sky["temperature"], 1), 0.03),
            "wind": _missing(rng, np.round(sky["wind"] * np.where(during(SENSOR), 1.4, 1.0), 1), 0.05),
            "rain": np.round(sky["rain"], 1),
            "member_share": _missing(rng, np.round(station["member_share"], 2), 0.08),
            "runs_empty": np.where(runs_empty, "true", "false"),
        }
    )


def _sky(rng: np.random.Generator, day: np.ndarray, days: int) -> dict[str, np.ndarray]:
    """Draw what the calendar and the weather bring: hour, season, weekend, holiday, temperature (°C), wind (m/s), rain (mm/h)."""
    n = len(day)
    hour = (day % 1.0) * 24.0
    season = np.cos(2 * np.pi * ((day - _day(HISTORY_START)) / 365.25 - 0.55))  # +1 in the middle of July
    holidays = rng.random(days) < 0.03
    temperature = 11 + 5 * season + 4 * np.cos(2 * np.pi * (hour - 15) / 24) + rng.normal(0, 3, n)
    wet = rng.random(n) < 0.24 - 0.06 * season
    dry = np.where(rng.random(n) < 0.55, "clear", "clouds")
    return {
        "hour": hour,
        "season": season,
        "weekend": np.floor(day + 3.0) % 7.0 >= 5.0,  # day 0 was a Thursday
        "holiday": holidays[(np.floor(day) - np.floor(day[0])).astype(int)],
        "temperature": temperature,
        "wind": rng.gamma(3.0, 1.6, n),
        "rain": np.where(wet, rng.gamma(1.2, 1.6, n), 0.0),
        "weather": np.where(wet, np.where(temperature < 1, "snow", "rain"), dry).astype(object),
    }


def _station(rng: np.random.Generator, sky: dict[str, np.ndarray], *, new: np.ndarray) -> dict[str, np.ndarray]:
    """Draw the stations and what happens at them; `new` says which rows are of the new district."""
    n = len(new)
    home = _choose(rng, n, DISTRICT_SHARE)
    pull = np.where(new, 0.9, DISTRICT_PULL[home])
    docks = rng.choice([12, 16, 20, 24, 32, 40], n)
    activity = np.exp(0.9 + 0.55 * sky["season"] + 0.5 * _rush(sky) - 0.05 * sky["rain"] + rng.normal(0, 0.35, n))
    return {
        "district": np.where(new, HARBOUR, DISTRICTS[home]),
        "pull": pull,
        "docks": docks,
        "bikes": np.floor(docks * rng.beta(1.6, 1.8, n)).astype(int),
        "departures": poisson.ppf(rng.random(n), activity * np.exp(0.35 * pull)).astype(int),
        "arrivals": poisson.ppf(rng.random(n), activity * np.exp(-0.15 * pull)).astype(int),
        "member_share": np.clip(rng.beta(5, 3, n) - 0.10 * sky["weekend"], 0, 1),
        "fare_plan": FARE_PLANS[_choose(rng, n, np.array([0.3, 0.4, 0.3]))],
    }


def _logit(sky: dict[str, np.ndarray], station: dict[str, np.ndarray], *, new_fares: np.ndarray) -> np.ndarray:
    """Return the log-odds of running empty: the state of the station, and who wants to ride under which fares."""
    warmth, members = sky["temperature"] - 11, station["member_share"] - 0.6
    commuters = 1.5 * _rush(sky) * ~sky["holiday"] + 0.9 * members + 0.5 * (station["fare_plan"] == "year")
    visitors = 1.9 * np.exp(-(((sky["hour"] - 14.0) / 2.6) ** 2)) + 0.9 * (sky["weekend"] | sky["holiday"]) + 0.10 * warmth
    visitors += 1.1 * (station["fare_plan"] == "day") - 3.0 * members - 0.6
    state = 0.6 - 0.34 * station["bikes"] + 0.20 * station["departures"] - 0.16 * station["arrivals"] + 0.8 * station["pull"]
    return state + 1.15 * np.where(new_fares, visitors, commuters) + 0.03 * warmth - 0.22 * sky["rain"] - 0.05 * sky["wind"]


def _rush(sky: dict[str, np.ndarray]) -> np.ndarray:
    """Return how much of a rush hour it is, 0 to 1; none on weekends."""
    morning, evening = ((sky["hour"] - 8.3) / 1.4) ** 2, ((sky["hour"] - 17.5) / 1.8) ** 2
    return (np.exp(-morning) + np.exp(-evening)) * ~sky["weekend"]


def _arrivals(rng: np.random.Generator, days: int) -> np.ndarray:
    """Draw ordered whole seconds since the start: `ROWS_PER_DAY` a day, busier by day than by night."""
    of_day = np.sort(rng.triangular(4.0, 14.5, 24.0, (days, ROWS_PER_DAY)) * 3600, axis=1).astype(np.int64)
    return (of_day + 86400 * np.arange(days)[:, None]).ravel()


def _choose(rng: np.random.Generator, n: int, shares: np.ndarray) -> np.ndarray:
    return np.minimum(np.searchsorted(np.cumsum(shares), rng.random(n)), len(shares) - 1)


def _missing(rng: np.random.Generator, values: np.ndarray, share: float) -> np.ndarray:
    """Return `values` with a share of them gone: NaN among numbers, ``None`` among words."""
    gone = rng.random(len(values)) < share
    return np.where(gone, None, values) if values.dtype == object else np.where(gone, np.nan, values)


def _day(moment: datetime) -> float:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(days=1)


def main() -> None:
    """Write `history.csv.gz` and `live.csv.gz` into a folder."""
    parser = argparse.ArgumentParser(description="Write the simulated bike-hire stream.")
    parser.add_argument("--out", type=Path, required=True, help="folder to write history.csv.gz and live.csv.gz into")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-events", action="store_true", help="the same stream without its events")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for name, frame in (("history", history(options.seed)), ("live", live(options.seed, events=not options.no_events))):
        path = options.out / f"{name}.csv.gz"
        frame.to_csv(path, index=False, compression={"method": "gzip", "mtime": 0})
        print(f"{path}: {len(frame)} rows")


if __name__ == "__main__":
    main()
