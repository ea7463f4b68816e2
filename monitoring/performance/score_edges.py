"""In what the scores of a model are counted: as it was begun, else as the reference of the champion says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from monitoring.judging.performance.outcome_sums import score_edges
from monitoring.judging.unlabelled.missing_labels import Scale
from monitoring.judging.unlabelled.strata import strata_edges
from monitoring.stores import Stores
from training.model_file.model_spec import ModelSpec
from training.profiles.bins import SCORE
from training.profiles.reference import Reference
from training.registry.aliases import CHAMPION


@dataclass(frozen=True, slots=True)
class ScoreEdges:
    """The edges that rows are counted by, which stay: only counts in the same bins add up.

    Attributes
    ----------
    bins, strata
        The inner edges of the bins of scores, and of their strata.
    is_stored
        Whether rows have been counted by them.
    """

    bins: tuple[float, ...]
    strata: tuple[float, ...]
    is_stored: bool

    @classmethod
    def of(cls, stores: Stores, spec: ModelSpec, champion: str) -> Self:
        """Return those of a model."""
        stored = stores.journal.outcomes
        bins = stored.edges(spec.model)
        if bins is not None:
            return cls(bins, stored.strata(spec.model), is_stored=True)
        task, of_reference = spec.schema.task, _edges_of(stores.load(spec.model, champion).reference)
        return cls(score_edges(of_reference if task == "binary" else ()), strata_edges(task, of_reference), is_stored=False)


def scale_of(stores: Stores, spec: ModelSpec) -> Scale:
    """Return the strata of a model's score, and the stratum of each of its bins."""
    champion = stores.registry.alias(spec.model, CHAMPION)
    if champion is None:
        return Scale()
    edges = ScoreEdges.of(stores, spec, champion.version)
    return Scale.of(edges.bins, edges.strata, is_binary=spec.schema.task == "binary")


def _edges_of(reference: Reference) -> tuple[float, ...]:
    """Return the edges of a reference's bins of the score; none where it has none."""
    return reference.bins.column(SCORE).edges if SCORE in reference.total.counts else ()
