"""How much of readiness is told to whom: names and reasons only to keys that may read them."""

from __future__ import annotations

from typing import Any

from service.errors import ModelNotReadyError
from service.models.deployments import Deployments
from service.web.api_keys import VisibleModels


def readiness(deployments: Deployments, visible: VisibleModels, behind: str | None) -> dict[str, Any]:
    """Describe how ready the service is: to who sees nothing, status and counts.

    Parameters
    ----------
    behind
        Why the prediction log is too far behind; None while it is not.
    """
    reason, is_degraded = deployments.why_not_ready(), deployments.is_degraded() or behind is not None
    content: dict[str, Any] = {"status": "ready" if reason is None else "not ready", "degraded": is_degraded}
    answering, waiting = deployments.all(), deployments.unready()
    if not visible.models:
        return {**content, "counts": {"ready": len(answering), "not_ready": len(waiting)}}
    return {
        **content,
        "reason": "; ".join(filter(None, (_reason(deployments, visible), behind))) or None,
        "models": {deployment.model: deployment.version for deployment in answering if visible.includes(deployment.model)},
    }


def refuse_unless_ready(deployments: Deployments, visible: VisibleModels) -> None:
    """Raise ModelNotReadyError while the service may not take traffic, with the reason for who may read it."""
    if deployments.why_not_ready() is not None:
        raise ModelNotReadyError(_reason(deployments, visible) or "not every model answers here yet")


def _reason(deployments: Deployments, visible: VisibleModels) -> str | None:
    if visible.is_all:
        return "; ".join(filter(None, (deployments.why_not_ready(), deployments.why_degraded()))) or None
    if deployments.registry_problem is not None:
        return deployments.registry_problem
    reasons = {**deployments.refusals(), **deployments.unready()}
    return "; ".join(f"{name}: {reason}" for name, reason in reasons.items() if visible.includes(name)) or None
