"""The way from the spool to the prediction log: exactly once, whatever the database does meanwhile.

Under gunicorn a process of its own drains (`service.worker.worker`), so that it takes no time from the request path; elsewhere a
thread does.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import orjson
from sqlalchemy.exc import SQLAlchemyError

from service.prediction_log.prediction_log import PredictionLog
from service.prediction_log.records import decode
from service.prediction_log.writing import DrainedBatch, Offset
from service.recording.counting import RowCounter
from service.recording.failpoints import Failpoint, never
from service.recording.frames import Frame, read_frames
from service.recording.spool import (
    FULL_FLAG,
    KEPT_SUFFIX,
    Segment,
    adopt,
    folder_bytes,
    is_removed,
    keep,
    open_segment,
    spool_files,
    spool_of,
    sweep,
)
from service.recording.spool_age import DrainMark
from service.recording.version_facts import VersionCache
from service.telemetry.memory import give_back
from service.telemetry.metrics import ServiceMetrics
from training.errors import DatabaseUnavailableError, EvergreenError, SchemaVersionError

logger = logging.getLogger(__name__)

BATCH_BYTES = 1 << 20
LONGEST_PAUSE_SECONDS = 2.0
SWEEP_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class DrainPolicy:
    """How often to drain, and the bound on the rows of the log."""

    interval_seconds: float = 0.1
    log_max_rows: int = 50_000_000


class Drain:
    """Move records out of the spool files of a folder, whoever writes or wrote them, into the prediction log.

    Parameters
    ----------
    clock
        Returns machine time.

    Notes
    -----
    `run_once` does all the work and is what tests call; `start` calls it from a thread. The offset of a file moves in the
    transaction that stores its records, so two drains over one folder waste time but double nothing.
    """

    def __init__(
        self,
        *,
        folder: Path,
        log: PredictionLog,
        versions: VersionCache,
        metrics: ServiceMetrics,
        clock: Callable[[], datetime],
        policy: DrainPolicy | None = None,
        failpoint: Failpoint = never,
    ) -> None:
        self._folder = folder
        self._log = log
        self._versions = versions
        self._metrics = metrics
        self._clock = clock
        self._policy = policy or DrainPolicy()
        self._failpoint = failpoint
        self._mark = DrainMark(folder)
        self._segments: dict[str, Segment] = {}
        self._offsets: dict[str, Offset] = {}
        self._kept: set[str] = set()
        self._sweep_due = 0.0
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    # ---- the thread --------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start draining in the background."""
        self._thread = threading.Thread(target=self._run, name="drain", daemon=True)
        self._thread.start()

    def stop(self, *, within_seconds: float) -> bool:
        """Stop the thread once every file has been released by its writer and is in the log; return whether that is so.

        What is not is left in its file, for the next drain.
        """
        deadline = time.monotonic() + within_seconds
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(within_seconds)
        self._sweep_due = 0.0
        while time.monotonic() < deadline:
            try:
                self.run_once()
                if not self._segments:
                    return True
            except SchemaVersionError:
                return False
            except DatabaseUnavailableError:
                pass
            time.sleep(0.05)
        return False

    def _run(self) -> None:
        pause = self._policy.interval_seconds
        while not self._stopping.wait(pause):
            try:
                self.run_once()
                self._metrics.database_up.set(1)
                pause = self._policy.interval_seconds
            except (DatabaseUnavailableError, SchemaVersionError) as error:
                self._note_outage(error, pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            except Exception:
                logger.exception("the drain failed and will try again")
                self._offsets.clear()
                pause = LONGEST_PAUSE_SECONDS

    def _note_outage(self, error: EvergreenError, pause: float) -> None:
        self._metrics.database_up.set(0)
        self._offsets.clear()
        if pause <= self._policy.interval_seconds:
            logger.warning("the prediction log is out of reach, predictions go on into the spool: %s", error)

    # ---- one pass ----------------------------------------------------------------------------------------------

    def run_once(self) -> int:
        """Drain everything that is in reach; return the number of records committed.

        Raises
        ------
        DatabaseUnavailableError
            The log is gone or too busy; nothing is lost, call again later.
        """
        is_due = time.monotonic() >= self._sweep_due
        if is_due:
            sweep(self._folder, self._clock().timestamp())
            self._mark.begin()
        try:
            committed = self._pass()
        except BaseException:
            self._mark.fail()
            raise
        if is_due:
            self._mark.succeed()
            self._measure()
            self._sweep_due = time.monotonic() + SWEEP_SECONDS
        return committed

    def _pass(self) -> int:
        self._open_new()
        committed = 0
        for segment in list(self._segments.values()):
            is_finished = adopt(segment)
            if is_removed(segment):
                self._release(segment)
                continue
            committed += self._drain(segment, is_finished=is_finished)
            if is_finished:
                self._remove(segment)
                self._release(segment)
        return committed

    def _open_new(self) -> None:
        for path in spool_files(self._folder):
            if spool_of(path) not in self._segments:
                segment = open_segment(path)
                if segment is not None:
                    self._segments[segment.spool] = segment

    def _release(self, segment: Segment) -> None:
        self._segments.pop(segment.spool, None)
        self._offsets.pop(segment.spool, None)
        segment.close()

    def _drain(self, segment: Segment, *, is_finished: bool) -> int:
        records = 0
        limit = BATCH_BYTES
        size = os.fstat(segment.fd).st_size
        while True:
            offset = self._offset(segment)
            if offset.offset >= size and not is_finished:  # what came meanwhile waits: a commit of one record costs as much as of fifty
                return records
            frames = read_frames(segment.fd, segment.form, offset.offset, offset.records, limit=limit)
            if not frames:
                if is_finished:
                    self._finish(segment, offset)
                return records
            try:
                records += self._commit(segment, offset, frames, is_finished=is_finished)
            except (DatabaseUnavailableError, SchemaVersionError):
                raise
            except (SQLAlchemyError, EvergreenError, ValueError, KeyError, TypeError) as error:
                if len(frames) == 1:
                    self._set_aside(segment, frames[0], error)
                    self._commit(segment, offset, [replace(frames[0], payload=None)], is_finished=False)
                limit = 1  # frame by frame, until the one that cannot be stored is found

    def _finish(self, segment: Segment, offset: Offset) -> None:
        """Note what lies behind the last record of a file that will not grow any more, and that all of it is here."""
        if offset.offset and not offset.closed:
            self._commit(segment, offset, [], is_finished=True)
        behind = os.fstat(segment.fd).st_size - offset.offset
        if behind:
            self._keep(segment)
            self._metrics.log_records.labels("cut_off").inc()
            self._metrics.spool_damaged.inc(behind)
            logger.error(
                "the spool file %s ends with %d bytes that are no whole record: a write that was never finished, or a damaged end;"
                " it is kept as %s",
                *(segment.spool, behind, segment.path.with_suffix(KEPT_SUFFIX).name),
            )

    def _commit(self, segment: Segment, offset: Offset, frames: Sequence[Frame], *, is_finished: bool) -> int:
        end, n_records = (frames[-1].end, frames[-1].records) if frames else (offset.offset, offset.records)
        records = [decode(frame.payload) for frame in frames if frame.payload is not None]
        counter = RowCounter(records, self._versions.facts)
        facts = {record.model: known for record in records if (known := self._versions.facts(record.model, record.version))}
        batch = DrainedBatch(
            spool=segment.spool,
            start=offset.offset,
            end=end,
            records_before=offset.records,
            records=records,
            closed=is_finished and (not frames or end == os.fstat(segment.fd).st_size),
            count=counter.count,
            rules={model: known.rule for model, known in facts.items()},
            first={model: (known.measures, known.bucket_us) for model, known in facts.items()},
            skipped=n_records - offset.records - len(records),
        )
        self._failpoint("drain.commit.before")
        started = time.perf_counter()
        if not self._log.commit_drained(batch, machine_now=self._clock(), note_lost=self._note_lost):
            self._offsets.pop(segment.spool, None)
            return 0
        self._metrics.commit_seconds.observe(time.perf_counter() - started)
        if counter.uncounted:
            logger.error("%d rows were logged but not counted: their version is not known any more", counter.uncounted)
        self._failpoint("drain.commit.after")
        self._offsets[segment.spool] = Offset(end, n_records, batch.closed)
        self._metrics.log_records.labels("committed").inc(len(records))
        self._note_damage(segment, frames)
        return len(records)

    def _note_lost(self, model: str, n_rows: int) -> None:
        self._metrics.own_ids_lost.labels(model).inc(n_rows)
        logger.warning("%d rows of %s lost their own id: another key used it first", n_rows, model)

    def _note_damage(self, segment: Segment, frames: Sequence[Frame]) -> None:
        gap, lost = sum(frame.gap for frame in frames), sum(frame.lost for frame in frames)
        if not gap and not lost:
            return
        self._keep(segment)
        self._metrics.log_records.labels("damaged").inc(lost)
        self._metrics.spool_damaged.inc(gap)
        logger.error(
            "%d bytes of the spool file %s are damaged and %d of its records lost; it is kept as %s",
            *(gap, segment.spool, lost, segment.path.with_suffix(KEPT_SUFFIX).name),
        )

    def _set_aside(self, segment: Segment, frame: Frame, error: Exception) -> None:
        self._keep(segment)
        self._metrics.log_records.labels("refused").inc()
        logger.error("a record of the spool file %s cannot be stored and is kept in it: %s", segment.spool, error)
        with suppress(OSError), open(self._folder / "refused.jsonl", "ab") as aside:
            aside.write(orjson.dumps({"spool": segment.spool, "end": frame.end, "error": str(error)[:500]}) + b"\n")

    def _keep(self, segment: Segment) -> None:
        """Keep the file when it is drained: by a second name at once, for this process may die; where that fails, by renaming it then."""
        self._kept.add(segment.spool)
        with suppress(OSError):
            keep(segment)

    def _offset(self, segment: Segment) -> Offset:
        if segment.spool not in self._offsets:
            self._offsets[segment.spool] = self._log.offset(segment.spool)
        return self._offsets[segment.spool]

    def _remove(self, segment: Segment) -> None:
        self._failpoint("spool.truncate.before")
        with suppress(FileNotFoundError):
            kept = segment.path.with_suffix(KEPT_SUFFIX)
            if segment.spool in self._kept and not kept.exists():
                os.rename(segment.path, kept)
            else:
                os.unlink(segment.path)
        self._failpoint("spool.truncate.after")

    def _measure(self) -> None:
        give_back()
        self._metrics.spool_bytes.set(folder_bytes(self._folder))
        rows = self._log.total_rows()
        self._metrics.log_rows.set(rows)
        flag = self._folder / FULL_FLAG
        if rows >= self._policy.log_max_rows:
            flag.touch(mode=0o600)
        else:
            flag.unlink(missing_ok=True)
