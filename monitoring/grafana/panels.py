"""What the panels of the three dashboards ask and say; `monitoring.grafana.dashboards` writes them as Grafana wants them.

No part of a running Evergreen. A test compares every metric and every label with what is exported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

ASKED = 'route!~"/(livez|readyz|metrics)"'  # what counts for the objectives, as in rules.yml
RATE = "[$__rate_interval]"
OF = 'model="$model"'
WATCHED = f" and on (model, metric) evergreen_live_rows{{{OF}}}"  # which only the watched metric has
Query = tuple[str, str]  # PromQL and legend


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel.

    Attributes
    ----------
    unit
        One of Grafana's.
    limits
        Values from which something is wrong (red), with "below": up to which.
    runbooks
        Alerts that tell of the same.
    width
        Of 24.
    """

    title: str
    meaning: str
    queries: tuple[Query, ...]
    unit: str = "short"
    limits: tuple[float, ...] = ()
    is_bad_below: bool = False
    runbooks: tuple[str, ...] = ()
    width: int = 8


class Graph(Panel):
    """Lines over time."""

    __slots__ = ()


class Stat(Panel):
    """The newest value, or the newest values, as numbers."""

    __slots__ = ()


class Names(Stat):
    """The names of what there is at present: verdicts, versions."""

    __slots__ = ()


Rows = Mapping[str, tuple[Panel, ...]]


def rate(name: str, by: str, matchers: str = "") -> str:
    """Return the PromQL of a counter's rate, added up by labels.

    Examples
    --------
    >>> rate("labels_total", "result", 'model="m"')
    'sum by (result) (rate(evergreen_labels_total{model="m"}[$__rate_interval]))'
    """
    return f"sum by ({by}) (rate(evergreen_{name}{braced(matchers)}{RATE}))"


def newest(name: str, by: str = "", matchers: str = "") -> str:
    """Return the PromQL of a gauge, or of a count the journal keeps, whichever monitor leads.

    Examples
    --------
    >>> newest("quarantines", "model")
    'max by (model) (evergreen_quarantines)'
    """
    return f"max by ({by}) (evergreen_{name}{braced(matchers)})"


def braced(matchers: str) -> str:
    """Return matchers as a selector wants them."""
    return f"{{{matchers}}}" if matchers else ""


def by_model(name: str) -> tuple[Query, ...]:
    """Return the query of a gauge that every model has."""
    return ((newest(name, "model"), "{{model}}"),)


def of_model(name: str, legend: str) -> tuple[Query, ...]:
    """Return the query of a gauge of the model that is looked at."""
    return ((newest(name, "model", OF), legend),)


def quantiles(name: str, matchers: str = "") -> tuple[Query, ...]:
    """Return the queries of a histogram's median, 95 and 99 %."""
    return tuple(
        (f"histogram_quantile({q}, sum by (le) (rate(evergreen_{name}_bucket{braced(matchers)}{RATE})))", f"{100 * q:g} %")
        for q in (0.5, 0.95, 0.99)
    )


def ratios(what: str, budget: float = 1.0) -> tuple[Query, ...]:
    """Return the queries of a recorded ratio in its windows, as a multiple of its budget."""
    divided = "" if budget == 1.0 else f" / {budget:g}"
    return tuple((f"evergreen:request_{what}:ratio_rate{window}{divided}", window) for window in ("5m", "30m", "1h", "6h", "3d"))


SERVICE: Rows = {
    "State": (
        Stat("Up", "Whether Prometheus reaches service and monitor.", (('min by (job) (up{job=~"evergreen-.*"})', "{{job}}"),),
             limits=(1,), is_bad_below=True, runbooks=("EvergreenServiceDown", "EvergreenMonitorDown"), width=4),
        Stat("Database", "1 where the last use of the database went well: by the drain, and by the loop.",
             (("min by (job) (evergreen_db_up)", "{{job}}"),),
             limits=(1,), is_bad_below=True, runbooks=("EvergreenDatabaseDown",), width=4),
        Stat("Database damaged", "1 while its content is known to be broken.", (("max(evergreen_db_damaged)", "damaged"),), limits=(1,),
             runbooks=("EvergreenDatabaseDamaged",), width=4),
        Names("Versions in service", "Model, version and algorithm that answer.",
              ((newest("model_info", "model, version, algorithm"), "{{model}} {{version}} ({{algorithm}})"),),
              runbooks=("EvergreenVersionSkew",), width=8),
        Names("Evergreen", "The release and the Python of service and monitor.",
              ((newest("build_info", "job, version, python"), "{{job}} {{version}}, Python {{python}}"),), width=4),
    ),
    "Requests": (
        Graph("Requests by route and code", "Answers a second; probes and scrapes are left out.",
              ((rate("http_requests_total", "route, code", ASKED), "{{route}} {{code}}"),), "reqps"),
        Graph("Share of answers with a 5xx", "Recorded by rules.yml; the objective is 0.1 %.", ratios("errors"), "percentunit", (0.001,),
              runbooks=("EvergreenErrors",)),
        Graph("Burn rate of the error budget", "How many times faster than the objective allows; pages at 14.4 (1h) and 6 (6h).",
              ratios("errors", 0.001), "none", (6, 14.4), runbooks=("EvergreenErrors",)),
        Graph("Latency", "Time to answer, all routes but probes.", quantiles("http_request_duration_seconds", ASKED), "s", (0.1,),
              runbooks=("EvergreenSlow",)),
        Graph("Burn rate of the latency budget", "1 % of answers may take longer than 100 ms; pages at 14.4 (1h) and 6 (6h).",
              ratios("slow", 0.01), "none", (6, 14.4), runbooks=("EvergreenSlow",)),
        Graph("Time of the model alone", "95 % of calls are faster.",
              (("histogram_quantile(0.95, sum by (le, model) (rate(evergreen_predict_duration_seconds_bucket[$__rate_interval])))",
                "{{model}}"),), "s"),
        Graph("In flight", "Requests being answered, all workers.", (("sum(evergreen_http_requests_in_flight)", "in flight"),)),
        Graph("Refused", "Requests refused before a model saw them, and those given up at their deadline.",
              ((rate("rejected_requests_total", "reason"), "{{reason}}"),
               (rate("request_deadline_exceeded_total", "model"), "deadline of {{model}}")), "reqps",
              runbooks=("EvergreenErrors",)),
        Graph("Size of bodies", "Bytes of a request.", quantiles("http_request_size_bytes"), "bytes"),
    ),
    "Predictions": (
        Graph("Rows predicted", "Rows a second by version and outcome.",
              ((rate("predictions_total", "model, version, outcome"), "{{model}} {{version}} {{outcome}}"),), "rowsps"),
        Graph("Rows in a request", "As callers send them.", quantiles("request_rows")),
        Graph("Rows of a batch", "Rows of several requests that were predicted together.", quantiles("batch_rows")),
        Graph("Values that break the schema", "Values a second, by model and code; and columns nobody asked for.",
              ((rate("rejected_values_total", "model, code"), "{{model}} {{code}}"),
               (rate("ignored_values_total", "model"), "{{model}} ignored"))),
        Graph("Champions followed", "Champions taken into service or refused since the start; refused artifacts.",
              (("sum by (model, result) (evergreen_model_swaps_total)", "{{model}} {{result}}"),
               ("sum by (reason) (evergreen_artifact_verification_failures_total)", "refused: {{reason}}")),
              runbooks=("EvergreenModelRefused",)),
        Graph("Degraded", "1 where a model is served from the local note, or because its champion was refused.",
              by_model("model_degraded"), limits=(1,), runbooks=("EvergreenModelRefused",)),
    ),
    "Log and labels": (
        Graph("Spool", "Bytes of records that wait for the log.", (("max(evergreen_spool_bytes)", "spool"),), "bytes",
              runbooks=("EvergreenSpoolGrows",)),
        Graph("Oldest record of the spool", "For how long it has waited.", (("max(evergreen_spool_oldest_seconds)", "oldest"),), "s",
              (120,), runbooks=("EvergreenSpoolGrows",)),
        Graph("Drain", "Records a second by result; damaged bytes are records lost.",
              ((rate("prediction_log_records_total", "result"), "{{result}}"),
               ("sum(rate(evergreen_spool_damaged_bytes_total[$__rate_interval]))", "damaged bytes")),
              runbooks=("EvergreenRecordsLost",)),
        Graph("Time of a drain transaction", "As the database needs.", quantiles("prediction_log_commit_duration_seconds"), "s"),
        Graph("Labels by result", "Labels a second, by what became of them.",
              ((rate("labels_total", "model, result"), "{{model}} {{result}}"),), runbooks=("EvergreenLabelsTooLate",)),
        Graph("Since the last label", "Machine time since a label was stored.",
              ((f"time() - {newest('labels_last_received_timestamp_seconds', 'model')}", "{{model}}"),), "s",
              runbooks=("EvergreenLabelsStopped",)),
    ),
    "Machine": (
        Graph("Memory of the workers", "Resident, added up.",
              (("sum by (instance) (evergreen_worker_resident_memory_bytes)", "{{instance}}"),), "bytes"),
        Graph("Disk", "Share that may still be written.", (("min(evergreen_disk_free_bytes / evergreen_disk_size_bytes)", "free"),),
              "percentunit", (0.1,), is_bad_below=True, runbooks=("EvergreenDiskAlmostFull",)),
        Graph("Rows of the log", "Beside the bound on them.",
              (("max(evergreen_prediction_log_rows)", "rows"), ("max(evergreen_prediction_log_max_rows)", "threshold")),
              runbooks=("EvergreenLogAlmostFull",)),
    ),
}  # fmt: skip

LOOP: Rows = {
    "The monitor": (
        Stat("Leader", "1 for the monitor that acts.", ((newest("scheduler_is_leader", "instance"), "{{instance}}"),),
             runbooks=("EvergreenNoLeader",), width=4),
        Stat("Since the last tick", "Machine time.", (("time() - max(evergreen_scheduler_last_tick_timestamp_seconds)", "tick"),), "s",
             (900,), runbooks=("EvergreenLoopStalled",), width=4),
        Stat("Database", "1 where the last use of it by the loop went well.", (('min(evergreen_db_up{job="evergreen-monitor"})', "up"),),
             limits=(1,), is_bad_below=True, runbooks=("EvergreenDatabaseDown",), width=4),
        Stat("Retraining now", "1 while a training child runs.", by_model("retrain_in_progress"), width=4),
        Stat("Paused", "1 where a person has paused the loop.", by_model("loop_paused"), width=4),
        Stat("On probation", "1 while the last promotion may be taken back.", by_model("probation_open"), width=4),
        Graph("Time of a tick", "How long the last one took.", ((newest("scheduler_tick_duration_seconds", "instance"), "{{instance}}"),),
              "s"),
        Graph("Ticks that failed", "In the hour before; and leases lost while acting.",
              (("sum by (model) (increase(evergreen_scheduler_tick_failures_total[1h]))", "{{model}}"),
               ("sum(increase(evergreen_lease_lost_total[1h]))", "lease lost")), limits=(2,), runbooks=("EvergreenLoopFails",)),
        Graph("Messages", "How long the oldest that has not arrived has waited, by destination; attempts in the hour before, by outcome.",
              ((newest("messages_oldest_seconds", "destination"), "{{destination}}"),
               ("sum by (destination, outcome) (increase(evergreen_message_deliveries_total[1h]))", "{{destination}} {{outcome}}")),
              runbooks=("EvergreenMessagesStuck",)),
    ),
    "Models": (
        Names("Verdicts now", "Of the last slot of each model.",
              ((f"{newest('verdict', 'model, verdict')} == 1", "{{model}}: {{verdict}}"),),
              runbooks=("EvergreenBlind", "EvergreenDataFaults"), width=12),
        Stat("Drift episodes", "That are open and not muted.", ((newest("drift_episodes", "model", 'state="open"'), "{{model}}"),),
             limits=(1,), runbooks=("EvergreenDrift",), width=4),
        Stat("Worse than they should be", "1 while performance is degraded.", by_model("performance_degraded"),
             limits=(1,), runbooks=("EvergreenPerformance",), width=4),
        Stat("Quarantines", "Spans of rows set aside until a person lets them go.", by_model("quarantines"),
             runbooks=("EvergreenDataFaults",), width=4),
        Graph("Verdicts", "1 for the verdict of the last slot.", ((newest("verdict", "model, verdict"), "{{model}} {{verdict}}"),),
              width=12),
        Graph("Since a retraining saw new rows", "Model time over twice schedule and maturity; refused ones count: overdue above 1.",
              by_model("retrain_overdue_ratio"), "none", (1,), runbooks=("EvergreenModelOverdue",), width=12),
        Graph("Retrainings", "So far, by what became of them.",
              ((newest("promotions_total", "model, decision"), "{{model}} {{decision}}"),),
              runbooks=("EvergreenRetrainingFails",), width=12),
        Graph("Roll-backs", "So far, by the probation or a person.", by_model("rollbacks_total"), runbooks=("EvergreenRolledBack",),
              width=12),
        Graph("Since the last good retraining", "One that ended with a verdict of the gate; machine time.",
              ((f"time() - {newest('retrain_last_success_timestamp_seconds', 'model')}", "{{model}}"),), "s", width=12),
        Graph("Silence", "Machine time since the newest row, over the longest usual one (where model time is that of arrival).",
              by_model("silence_ratio"), "none", (2,), runbooks=("EvergreenSilence",), width=12),
    ),
    "Log": (
        Graph("Rows of the log", "Beside the bound on them.",
              (("max(evergreen_prediction_log_rows)", "rows"), ("max(evergreen_prediction_log_max_rows)", "threshold")),
              runbooks=("EvergreenLogAlmostFull",), width=12),
        Graph("Disk", "Share that may still be written.", (("min(evergreen_disk_free_bytes / evergreen_disk_size_bytes)", "free"),),
              "percentunit", (0.1,), is_bad_below=True, runbooks=("EvergreenDiskAlmostFull",), width=12),
    ),
}  # fmt: skip

MODEL: Rows = {
    "State": (
        Names("Verdict", "Of the last slot.", ((f"{newest('verdict', 'verdict', OF)} == 1", "{{verdict}}"),),
              runbooks=("EvergreenBlind", "EvergreenDataFaults"), width=4),
        Names("Version in service", "And its algorithm.",
              ((newest("model_info", "version, algorithm", OF), "{{version}} ({{algorithm}})"),),
              runbooks=("EvergreenVersionSkew",), width=4),
        Stat("Blind", "1 where too few labels came to judge by.",
             ((f"""{newest('verdict', 'model', f'{OF},verdict="blind"')} or 0 * {newest('verdict', 'model', OF)}""", "blind"),),
             limits=(1,), runbooks=("EvergreenBlind",), width=4),
        Stat("Episodes", "Drift episodes, open and muted.", ((newest("drift_episodes", "state", OF), "{{state}}"),), limits=(1,),
             runbooks=("EvergreenDrift",), width=4),
        Stat("Last slot", "Its end, in model time.", ((f"1000 * {newest('drift_last_evaluated_timestamp_seconds', 'model', OF)}", "slot"),),
             "dateTimeAsIso", width=4),
        Stat("Trained through", "Model time of the last row the champion has seen.",
             ((f"1000 * {newest('model_trained_through_timestamp_seconds', 'model', OF)}", "row"),), "dateTimeAsIso",
             runbooks=("EvergreenModelOverdue",), width=4),
    ),
    "Performance": (
        Graph("Live score", "Over the newest mature, covered buckets, with its 95 % interval and what it is held against.",
              ((f'max(evergreen_live_score{{{OF},segment=""}}{WATCHED})', "score"),
               (f"max(evergreen_live_score_low{{{OF}}}{WATCHED})", "low"),
               (f"max(evergreen_live_score_high{{{OF}}}{WATCHED})", "high"),
               (f"max(evergreen_quality_baseline{{{OF}}})", "baseline")), "none", runbooks=("EvergreenPerformance",)),
        Graph("Evidence that it is worse", "log10 of the e-detector's sum over its threshold; at 1 an episode begins.",
              ((f"max(evergreen_performance_evidence_ratio{{{OF}}})", "evidence"),), "none", (1,), runbooks=("EvergreenPerformance",)),
        Graph("Beside it", "The live score by your own metric, or the cost, and what is asked of segments first, all rows.",
              ((f'max by (metric) (evergreen_live_score{{{OF},segment=""}} unless on (model, metric) evergreen_live_rows{{{OF}}})',
                "{{metric}}"),), "none"),
        Graph("Segments", "The watched metric of the segments with the most labels.",
              ((newest("live_score", "metric, segment", f'{OF},segment!=""'), "{{segment}} {{metric}}"),), "none"),
        Graph("Rows behind the score", "Labelled rows.", ((newest("live_rows", "metric", OF), "{{metric}}"),)),
        Stat("Disparities", "Segments that got worse against the rest.", of_model("disparities", "segments"), limits=(1,)),
    ),
    "Estimated": (
        Graph("Estimated score", "Of the last window, with labels (PPI++) or without (CBPE, DLE), with its band; it triggers nothing.",
              ((newest("estimated_score", "metric, method", OF), "{{method}} {{metric}}"),
               (newest("estimated_score_low", "metric, method", OF), "{{method}} {{metric}}, low"),
               (newest("estimated_score_high", "metric, method", OF), "{{method}} {{metric}}, high")), "none", width=24),
    ),
    "Drift": (
        Graph("Evidence of drift", "log10 of the strongest columns' sums over their threshold; at 1 an episode begins.",
              ((newest("drift_evidence_ratio", "feature", OF), "{{feature}}"),), "none", (1,), runbooks=("EvergreenDrift",), width=12),
        Graph("Size of drift", "Distance from the reference over what it must exceed to matter: it does above 1.",
              ((newest("drift_size_ratio", "feature", OF), "{{feature}}"),), "none", (1,), runbooks=("EvergreenDrift",), width=12),
        Graph("Columns that drift", "Share of all columns.", of_model("drift_features_ratio", "share"), "percentunit"),
        Graph("Faults", "Of data and of labels in the last slot; and spans of rows that are set aside.",
              ((newest("faults", "model", OF), "faults"), (newest("quarantines", "model", OF), "quarantines")),
              runbooks=("EvergreenDataFaults",)),
        Stat("Open since", "Model time at which the oldest open episode began.",
             ((f"1000 * {newest('drift_episode_since_timestamp_seconds', 'model', OF)}", "episode"),),
             "dateTimeAsIso", runbooks=("EvergreenDrift",)),
    ),
    "Labels": (
        Graph("Labelled share", "Of the matured rows of the last slot.", of_model("labelled_ratio", "labelled"),
              "percentunit", runbooks=("EvergreenBlind", "EvergreenLabelsStopped")),
        Graph("Age of labels", "Quantiles of the time from a prediction to its label, machine time.",
              quantiles("label_delay_seconds", OF), "s"),
        Graph("Since labels came", "Model time, over twice the age at which labels count, and a day: stopped above 1.",
              of_model("labels_overdue_ratio", "since"), "none", (1,), runbooks=("EvergreenLabelsStopped",)),
        Graph("Labels received", "A second, by what became of them.", ((rate("labels_total", "result", OF), "{{result}}"),),
              runbooks=("EvergreenLabelsStopped", "EvergreenLabelsTooLate")),
    ),
    "Retraining": (
        Graph("Retrainings and roll-backs", "So far: promoted, refused, failed; taken back by the probation or a person.",
              ((newest("promotions_total", "decision", OF), "{{decision}}"), (newest("rollbacks_total", "model", OF), "rolled back")),
              runbooks=("EvergreenRetrainingFails", "EvergreenRolledBack"), width=12),
        Graph("Verdicts", "1 for the verdict of the last slot.", ((newest("verdict", "verdict", OF), "{{verdict}}"),), width=12),
        Graph("Rows predicted", "Rows a second, by version and outcome.",
              ((rate("predictions_total", "version, outcome", OF), "{{version}} {{outcome}}"),), "rowsps", width=12),
        Graph("Time of the model", "Of a call, without the service around it.", quantiles("predict_duration_seconds", OF), "s", width=12),
    ),
}  # fmt: skip

DASHBOARDS: Mapping[str, tuple[str, Rows]] = {
    "service": ("Evergreen: service", SERVICE),
    "loop": ("Evergreen: loop", LOOP),
    "model": ("Evergreen: one model", MODEL),
}
