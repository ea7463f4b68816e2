"""What answers: one deployment a model, and for a model that does not answer the reason why.

Routing (canary, A/B, shadow) will stand between `Deployments.current` and the deployment it returns.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from service.errors import ModelNotReadyError, UnknownModelError
from service.models.served_model import Deployment
from service.telemetry.metrics import DeploymentFacts

QUICK_SECONDS = 0.003
FEWEST_BYTES_A_ROW = 100


class Deployments:
    """The versions in service of one process; the registry's follower writes them, every request reads them.

    Parameters
    ----------
    expected
        The models that shall answer, whether they have a champion yet or not.

    Attributes
    ----------
    has_looked
        Whether the registry was looked at once; before, nothing is known of any model.
    is_registry_up
        Whether the registry was in reach when it was looked at last.
    registry_problem
        Why it must not be used, when it was in reach; None when it may.
    """

    def __init__(self, expected: Iterable[str] = ()) -> None:
        self._current: dict[str, Deployment] = {}
        self._missing = dict.fromkeys(expected, "it has no champion yet")
        self._refusals: dict[str, str] = {}
        self._away: set[str] = set()
        self.has_looked = False
        self.is_registry_up = True
        self.registry_problem: str | None = None

    # ---- for requests ---------------------------------------------------------------------------------------------

    def current(self, model: str) -> Deployment:
        """Return the deployment that answers for a model.

        Raises
        ------
        UnknownModelError
            Nothing is known of such a model.
        ModelNotReadyError
            It has no champion that could be loaded; the message says why.
        """
        deployment = self._current.get(model)
        if deployment is not None:
            return deployment
        if model in self._missing:
            raise ModelNotReadyError(f"model {model} is not ready: {self._missing[model]}")
        if self.registry_problem is not None or not self.has_looked:
            raise ModelNotReadyError(self.registry_problem or "the service has not looked for models yet")
        raise UnknownModelError(f"there is no model {model!r} here")

    def is_quick(self, model: str | None, n_bytes: int) -> bool:
        """Return whether a model (None: any of them) answers a body of this size so soon that it holds up nobody.

        A pipeline that is not compiled may do anything, also wait, so it never is.
        """
        deployments = self.all() if model is None else [self._current[model]] if model in self._current else []
        n_rows = 1 + n_bytes // FEWEST_BYTES_A_ROW
        return all(d.artifact.is_compiled and not d.is_expensive and d.seconds(n_rows) <= QUICK_SECONDS for d in deployments)

    def all(self) -> list[Deployment]:
        """Return the deployments by model name."""
        return [self._current[name] for name in sorted(self._current)]

    def only_one(self) -> str | None:
        """Return the name of the model when there is but one, ready or not."""
        names = {*self._current, *self._missing}
        return names.pop() if len(names) == 1 else None

    # ---- for probes and scrapes -----------------------------------------------------------------------------------

    def why_not_ready(self) -> str | None:
        """Return why the service may not take traffic; None when every expected model answers with a version that may.

        An older version answers in the place of one that was refused. Where the champion is not in this home at all, other
        services may answer with it, and this one should not with the older one.
        """
        if self.registry_problem is not None:
            return self.registry_problem
        missing = dict(sorted({**{name: self._refusals[name] for name in self._away}, **self.unready()}.items()))
        if missing:
            return "; ".join(f"{name}: {reason}" for name, reason in missing.items())
        if self._current:
            return None
        return "no model has a champion yet" if self.is_registry_up else "the registry is out of reach and no champion was noted here"

    def unready(self) -> dict[str, str]:
        """Return why it does not answer, for each expected model that does not."""
        return {name: reason for name, reason in sorted(self._missing.items()) if name not in self._current}

    def why_degraded(self) -> str | None:
        """Return which champions were refused while another version answers well in their place; None when there is none."""
        return "; ".join(f"{name}: {reason}" for name, reason in self.refusals().items() if name not in self._away) or None

    def refusals(self) -> dict[str, str]:
        """Return why the champion was refused, for each model that another version answers for."""
        return {name: reason for name, reason in sorted(self._refusals.items()) if name in self._current}

    def is_degraded(self) -> bool:
        """Return whether the registry is out of reach, or some version answers that is not the champion of now."""
        return not self.is_registry_up or any(deployment.is_degraded for deployment in self._current.values())

    def facts(self) -> list[DeploymentFacts]:
        """Return what a scrape says about the deployments."""
        return [
            DeploymentFacts(
                model=deployment.model,
                version=deployment.version,
                algorithm=deployment.artifact.manifest.algorithm,
                sklearn=str(deployment.artifact.manifest.libraries.get("scikit-learn", "")),
                loaded_seconds=deployment.loaded_at.timestamp(),
                trained_seconds=deployment.artifact.manifest.created.timestamp(),
                degraded=deployment.is_degraded,
            )
            for deployment in self.all()
        ]

    # ---- for whoever follows the registry -------------------------------------------------------------------------

    def find(self, model: str) -> Deployment | None:
        """Return the deployment of a model; None when it has none."""
        return self._current.get(model)

    def put(self, deployment: Deployment) -> None:
        """Let a deployment answer from now on: one assignment, so every request sees the old one or the new one."""
        self._current[deployment.model] = deployment
        self._missing.pop(deployment.model, None)
        if not deployment.is_degraded:
            self._refusals.pop(deployment.model, None)
            self._away.discard(deployment.model)

    def refuse(self, model: str, reason: str, *, is_away: bool = False) -> None:
        """Note that the champion of a model may not answer; what answers in its place is degraded from now on.

        Parameters
        ----------
        is_away
            Whether it is not in this home at all.
        """
        self._refusals[model] = reason
        (self._away.add if is_away else self._away.discard)(model)
        deployment = self._current.get(model)
        if deployment is None:
            self._missing[model] = reason
        else:
            self._current[model] = replace(deployment, is_degraded=True)

    def miss(self, model: str, reason: str) -> None:
        """Note why a model has nothing that answers, beside a refusal that was noted before."""
        refusal = self._refusals.get(model)
        self._missing[model] = reason if refusal is None else f"{refusal}; {reason}"
