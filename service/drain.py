"""The way from the spool to the prediction log: exactly once, whatever the database does meanwhile.

Under gunicorn a process of its own drains (`service.worker`), so that it takes no time from the request path; elsewhere a
thread does.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import orjson
from sqlalchemy.exc import SQLAlchemyError

from service.counting import count_rows
from service.failpoints import Failpoint, never
from service.log_writing import DrainedBatch, Offset
from service.memory import give_back
from service.metrics import ServiceMetrics
from service.prediction_log import PredictionLog
from service.records import Record, decode
from service.spool import (
    FULL_MARK,
    SUFFIX,
    Frame,
    Segment,
    adopt,
    folder_bytes,
    is_removed,
    open_segment,
    read_frames,
    sweep,
)
from service.versions import VersionBook
from training.errors import DatabaseUnavailableError, EvergreenError

logger = logging.getLogger(__name__)

BATCH_BYTES = 1 << 20
LONGEST_PAUSE_SECONDS = 2.0
HOUSEKEEPING_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class DrainPolicy:
    """How often to drain, and the bound on the rows of the log."""

    interval_seconds: float = 0.1
    log_max_rows: int = 50_000_000


class Drain:
    """Moves records out of the spool files of a folder, whoever writes or wrote them, into the prediction log.

    Parameters
    ----------
    clock
        Gives machine time.

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
        book: VersionBook,
        metrics: ServiceMetrics,
        clock: Callable[[], datetime],
        policy: DrainPolicy | None = None,
        failpoint: Failpoint = never,
    ) -> None:
        self._folder = folder
        self._log = log
        self._book = book
        self._metrics = metrics
        self._clock = clock
        self._policy = policy or DrainPolicy()
        self._failpoint = failpoint
        self._segments: dict[str, Segment] = {}
        self._offsets: dict[str, Offset] = {}
        self._damaged: set[str] = set()
        self._housekeeping_due = 0.0
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    # ---- the thread --------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start draining in the background."""
        self._thread = threading.Thread(target=self._run, name="drain", daemon=True)
        self._thread.start()

    def stop(self, *, within_seconds: float) -> bool:
        """Stop the thread once every file has been let go of by its writer and is in the log; give whether that is so.

        What is not is left in its file, for the next drain.
        """
        deadline = time.monotonic() + within_seconds
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(within_seconds)
        self._housekeeping_due = 0.0
        while time.monotonic() < deadline:
            with suppress(DatabaseUnavailableError):
                self.run_once()
                if not self._segments:
                    return True
            time.sleep(0.05)
        return False

    def _run(self) -> None:
        pause = self._policy.interval_seconds
        while not self._stopping.wait(pause):
            try:
                self.run_once()
                self._metrics.database_up.set(1)
                pause = self._policy.interval_seconds
            except DatabaseUnavailableError as error:
                self._note_outage(error, pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            except Exception:
                logger.exception("the drain failed and will try again")
                self._offsets.clear()
                pause = LONGEST_PAUSE_SECONDS

    def _note_outage(self, error: DatabaseUnavailableError, pause: float) -> None:
        self._metrics.database_up.set(0)
        self._offsets.clear()
        if pause <= self._policy.interval_seconds:
            logger.warning("the prediction log is out of reach, predictions go on into the spool: %s", error)

    # ---- one pass ----------------------------------------------------------------------------------------------

    def run_once(self) -> int:
        """Drain everything that is in reach; give the number of records committed.

        Raises
        ------
        DatabaseUnavailableError
            The log is gone or too busy; nothing is lost, call again later.
        """
        is_due = time.monotonic() >= self._housekeeping_due
        if is_due:
            sweep(self._folder, self._clock().timestamp())
        self._look()
        committed = 0
        for segment in list(self._segments.values()):
            is_finished = adopt(segment)
            if is_removed(segment):
                self._let_go(segment)
                continue
            committed += self._drain(segment, is_finished=is_finished)
            if is_finished:
                self._remove(segment)
                self._let_go(segment)
        if is_due:
            self._measure()
            self._housekeeping_due = time.monotonic() + HOUSEKEEPING_SECONDS
        return committed

    def _look(self) -> None:
        """Open the files that are new."""
        for path in sorted(self._folder.glob(f"*{SUFFIX}")):
            if path.stem not in self._segments:
                segment = open_segment(path)
                if segment is not None:
                    self._segments[segment.spool] = segment

    def _let_go(self, segment: Segment) -> None:
        self._segments.pop(segment.spool, None)
        self._offsets.pop(segment.spool, None)
        segment.close()

    def _drain(self, segment: Segment, *, is_finished: bool) -> int:
        records = 0
        limit = BATCH_BYTES
        while True:
            offset = self._offset(segment)
            frames = read_frames(segment, offset.offset, limit=limit)
            must_close = is_finished and offset.offset > 0 and not offset.closed
            if not frames and not must_close:
                return records
            try:
                records += self._commit(segment, offset, frames, is_finished=is_finished)
            except DatabaseUnavailableError:
                raise
            except (SQLAlchemyError, EvergreenError, ValueError, KeyError, TypeError) as error:
                if not frames:
                    raise
                if len(frames) == 1:
                    self._set_aside(segment, frames[0], error)
                    self._commit(segment, offset, [Frame(None, frames[0].end)], is_finished=False)
                limit = 1  # frame by frame, until the one that cannot be stored is found

    def _commit(self, segment: Segment, offset: Offset, frames: Sequence[Frame], *, is_finished: bool) -> int:
        end = frames[-1].end if frames else offset.offset
        records, skipped = self._decode(segment, frames)
        counts, uncounted = count_rows(records, self._book.facts)
        if uncounted:
            logger.error("%d rows were logged but not counted: their version is not known any more", uncounted)
        batch = DrainedBatch(
            spool=segment.spool,
            start=offset.offset,
            end=end,
            records_before=offset.records,
            records=records,
            closed=is_finished and end >= segment.end,
            counts=counts,
            rules={record.model: facts.rule for record in records if (facts := self._book.facts(record.model, record.version))},
            skipped=skipped,
        )
        self._failpoint("drain.commit.before")
        started = time.perf_counter()
        if not self._log.commit_drained(batch, machine_now=self._clock()):
            self._offsets.pop(segment.spool, None)
            return 0
        self._metrics.commit_seconds.observe(time.perf_counter() - started)
        self._failpoint("drain.commit.after")
        self._offsets[segment.spool] = Offset(end, offset.records + len(frames), batch.closed)
        segment.end = max(segment.end, end)
        self._metrics.log_records.labels("committed").inc(len(records))
        return len(records)

    def _decode(self, segment: Segment, frames: Sequence[Frame]) -> tuple[list[Record], int]:
        records = [decode(frame.payload) for frame in frames if frame.payload is not None]
        skipped = len(frames) - len(records)
        if skipped:
            self._damaged.add(segment.spool)
            self._metrics.log_records.labels("damaged").inc(skipped)
            logger.error("%d records of the spool file %s are damaged; the file is kept", skipped, segment.spool)
        return records, skipped

    def _set_aside(self, segment: Segment, frame: Frame, error: Exception) -> None:
        self._damaged.add(segment.spool)
        logger.error("a record of the spool file %s cannot be stored and is kept in it: %s", segment.spool, error)
        with suppress(OSError), open(self._folder / "refused.jsonl", "ab") as aside:
            aside.write(orjson.dumps({"spool": segment.spool, "end": frame.end, "error": str(error)[:500]}) + b"\n")

    def _offset(self, segment: Segment) -> Offset:
        if segment.spool not in self._offsets:
            self._offsets[segment.spool] = self._log.offset(segment.spool)
        return self._offsets[segment.spool]

    def _remove(self, segment: Segment) -> None:
        self._failpoint("spool.truncate.before")
        with suppress(FileNotFoundError):
            if segment.spool in self._damaged:
                os.rename(segment.path, segment.path.with_suffix(".damaged"))
            else:
                os.unlink(segment.path)
        self._failpoint("spool.truncate.after")

    def _measure(self) -> None:
        give_back()
        self._metrics.spool_bytes.set(folder_bytes(self._folder))
        rows = self._log.total_rows()
        self._metrics.log_rows.set(rows)
        mark = self._folder / FULL_MARK
        if rows >= self._policy.log_max_rows:
            mark.touch(mode=0o600)
        else:
            mark.unlink(missing_ok=True)
