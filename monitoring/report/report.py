"""The report of a model: one file that needs no script and fetches nothing, to be sent to whoever asks how it is."""

from __future__ import annotations

from monitoring.admin.workbench import Workbench
from monitoring.report.history import drift, history
from monitoring.report.members import members
from monitoring.report.model_facts import ModelFacts, read_facts
from monitoring.report.records import decisions, faults, labels
from monitoring.report.standing import head
from monitoring.report.window import distributions, segments
from training.drawing.page import document


def report_of(bench: Workbench, model: str, days: int) -> str:
    """Read how a model stands and has stood over some days of model time, and return it as HTML.

    Raises
    ------
    UnknownModelError
        There is no such model.
    """
    return page_of(read_facts(bench, model, days))


def page_of(known: ModelFacts) -> str:
    """Return what is known as one page."""
    parts = [
        history(known),
        members(known),
        drift(known),
        distributions(known),
        segments(known),
        faults(known),
        labels(known),
        decisions(known),
    ]
    names = (("history", "What happened"), ("members", "Members"), ("drift", "Drift"), ("distributions", "Distributions"),
             ("segments", "Segments"), ("faults", "Data faults"), ("labels", "Labels"), ("decisions", "Decisions"))  # fmt: skip
    links = "".join(f'<a href="#{name}">{title}</a>' for (name, title), part in zip(names, parts, strict=True) if part)
    return document(f"{known.spec.model}: report", head(known), f'<nav aria-label="Sections">{links}</nav>', *parts)
