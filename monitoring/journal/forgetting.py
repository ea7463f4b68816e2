"""A model that was removed leaves the journal, within a transaction that somebody else opened."""

import sqlalchemy as sa

from monitoring.journal import tables

OF_MODELS = (
    *(tables.runs, tables.carries, tables.verdicts, tables.quarantines, tables.probations, tables.requests),
    *(tables.watch_states, tables.references, tables.episodes),
    *(tables.outcomes, tables.outcome_edges),
)


def forget_model(connection: sa.Connection, model: str) -> None:
    """Delete all that is known of a model, runs, verdicts, episodes and whatever else; leases belong to monitors."""
    for table in OF_MODELS:
        connection.execute(sa.delete(table).where(table.c.model == model))
