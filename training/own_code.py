"""A user's own code: found on the path, imported when a candidate of it is fitted, known by the hash of its files and libraries."""

from __future__ import annotations

import ast
import importlib
import os
import random
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from importlib import metadata, util
from pathlib import Path
from typing import Any, Self

from training.errors import CandidateError, OtherCodeError
from training.json_text import to_bytes

OURS = ("training", "service", "monitoring")
VARIABLE = "EVERGREEN_CODE"
_imported: dict[str, tuple[str, Mapping[str, str]]] = {}
"""Of each top-level package that this process imported, or was about to: its files' hash at that moment, and the libraries it uses."""


@dataclass(frozen=True, slots=True)
class Code:
    """The code of a candidate.

    Attributes
    ----------
    factory
        As the model file names it: ``package.module:function``.
    files
        SHA-256 of every ``.py`` of its top-level package, and of the modules beside it that it imports.
    distributions
        The versions of the installed distributions it imports, by name.
    """

    factory: str
    files: str
    distributions: Mapping[str, str]

    @property
    def package(self) -> str:
        """The top-level package."""
        return top_level(self.factory)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON object; `sha256` is the hash of files and distributions together."""
        content = {"files": self.files, "distributions": dict(self.distributions)}
        return {"factory": self.factory, **content, "sha256": sha256(to_bytes(content)).hexdigest()}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Read what `to_dict` gave."""
        return cls(str(stored["factory"]), str(stored["files"]), dict(stored["distributions"]))

    @property
    def sentence(self) -> str:
        """One sentence, for the card."""
        libraries = "".join(f", {name} {version}" for name, version in sorted(self.distributions.items()))
        return f"`{self.factory}`, files {self.files[:12]}{libraries}"

    def differences(self, other: Code) -> list[str]:
        """Return in words what is not the same in the `other`: the files, or a library's version.

        Examples
        --------
        >>> Code("a.b:c", "12", {"lightgbm": "4.6"}).differences(Code("a.b:c", "34", {"lightgbm": "4.7"}))
        ['the files of a', 'lightgbm 4.6 (now 4.7)']
        """
        out = [] if self.files == other.files else [f"the files of {self.package}"]
        for name in sorted({*self.distributions, *other.distributions}):
            then, now = self.distributions.get(name, "none"), other.distributions.get(name, "none")
            out += [] if then == now else [f"{name} {then} (now {now})"]
        return out


def top_level(factory: str) -> str:
    """Return the top-level package of ``package.module:function``."""
    return factory.partition(":")[0].partition(".")[0]


def extend_path(folder: Path | None) -> None:
    """Let Python look for modules in a folder too, after everywhere else."""
    if folder is not None and str(folder) not in sys.path:
        sys.path.append(str(folder))


def folder_in(environment: Mapping[str, str]) -> Path | None:
    """Return the folder that ``EVERGREEN_CODE`` names, absolute; None where it is not set."""
    text = environment.get(VARIABLE, "").strip()
    return Path(text).absolute() if text else None


def child_environment() -> dict[str, str]:
    """Return the environment for a child that may work elsewhere: this process's, with the code folder spelled out."""
    folder = folder_in(os.environ)
    return dict(os.environ) if folder is None else {**os.environ, VARIABLE: str(folder)}


def load_factory(factory: str, wanted: str = "build(schema, *, seed, **params)") -> Callable[..., Any]:
    """Import a factory, or another function of a user's that is called as `wanted` says; its code is hashed just before.

    Raises
    ------
    CandidateError
        It cannot be imported, is not there or cannot be called.
    """
    module, _, name = factory.partition(":")
    imported_code(factory)
    try:
        with isolated():
            target: Any = importlib.import_module(module)
            for part in name.split("."):
                target = getattr(target, part)
    except (Exception, SystemExit) as error:
        _imported.pop(top_level(factory), None)
        where = "" if folder_in(os.environ) else f"; install it, or name its folder by {VARIABLE}"
        hint = where if isinstance(error, ModuleNotFoundError) else _found_in(module) if isinstance(error, AttributeError) else ""
        raise CandidateError(f"{factory} cannot be imported: {type(error).__name__}: {error}{hint}") from error
    if not callable(target):
        raise CandidateError(f"{factory} is {type(target).__name__}, wanted a function {wanted}")
    return target  # type: ignore[no-any-return]


def _found_in(module: str) -> str:
    """Say which file a module is, where it was imported: another one of that name may come first on the path."""
    path = getattr(sys.modules.get(module), "__file__", None)
    return "" if path is None else f"; {module} is {path}"


def imported_code(factory: str) -> Code:
    """Return the code of a factory as this process imported it, or would import it now.

    What a process has imported it keeps, whatever becomes of the files: their hash is taken when the package is first asked for.
    """
    package = top_level(factory)
    if package not in _imported or package not in sys.modules:
        _imported[package] = _on_disk(package)
    return Code(factory, *_imported[package])


def refuse_other_code(made_with: Code) -> None:
    """Refuse a version whose code is not what this process has imported, or would import now.

    Raises
    ------
    OtherCodeError
        Naming what differs; where this process is older than the code, a restart helps.
    """
    differing = made_with.differences(imported_code(made_with.factory))
    if not differing:
        return
    if not made_with.differences(Code(made_with.factory, *_on_disk(made_with.package))):
        raise OtherCodeError(
            f"this process imported {made_with.package} before its code became what the version was made with: restart the service"
        )
    raise OtherCodeError(
        f"the version was made with other code of {made_with.package}; differing are {', '.join(differing)}: bring that code back, or "
        "train it by hand with this one, then restart the service"
    )


@contextmanager
def isolated(seed: int | None = None) -> Iterator[None]:
    """Undo what a user's code does to the process: folder, environment, random state, warnings, numpy's and scikit-learn's settings.

    Parameters
    ----------
    seed
        What the global random generators start from inside; None leaves them as they are.
    """
    import numpy as np
    import sklearn

    folder, environment, config = os.getcwd(), dict(os.environ), sklearn.get_config()
    plain, numpys = random.getstate(), np.random.get_state()
    if seed is not None:
        random.seed(seed)
        np.random.seed(seed % (1 << 32))
    try:
        with warnings.catch_warnings(), np.errstate():
            yield
    finally:
        if os.getcwd() != folder:
            os.chdir(folder)
        if dict(os.environ) != environment:
            os.environ.clear()
            os.environ.update(environment)
        sklearn.set_config(**config)
        random.setstate(plain)
        np.random.set_state(numpys)


@contextmanager
def output_to_stderr() -> Iterator[None]:
    """Let whatever a user's code prints go to standard error, so that a program can read what a command answers."""
    sys.stdout.flush()
    kept, before = os.dup(1), sys.stdout
    try:
        os.dup2(2, 1)
        sys.stdout = sys.stderr
        yield
    finally:
        sys.stdout = before
        os.dup2(kept, 1)
        os.close(kept)


def _on_disk(package: str) -> tuple[str, dict[str, str]]:
    """Return the hash of the files of a package with those beside it that it imports, and the distributions it uses."""
    importlib.invalidate_caches()
    digest, owners, used = sha256(), metadata.packages_distributions(), set[str]()
    waiting, seen = [package], {package}
    while waiting:
        name = waiting.pop()
        used |= set(owners.get(name, ()))
        for place, path in _files(name):
            content = path.read_bytes()
            digest.update(f"{place}\0{len(content)}\0".encode() + content)
            for other in sorted(_imports(content) - seen - set(sys.stdlib_module_names) - set(OURS)):
                seen.add(other)
                used |= set(owners.get(other, ()))
                waiting += [] if other in owners else [other]
    return digest.hexdigest(), {name: metadata.version(name) for name in sorted(used)}


def _files(package: str) -> list[tuple[str, Path]]:
    """Return the Python files of a top-level package or module, each with its place in it."""
    try:
        spec = util.find_spec(package)
    except (ImportError, ValueError):
        return []
    if spec is None:
        return []
    if spec.submodule_search_locations is None:
        path = Path(spec.origin or "")
        return [(path.name, path)] if path.suffix == ".py" and path.is_file() else []
    folders = [Path(folder) for folder in spec.submodule_search_locations]
    return sorted(
        (f"{package}/{path.relative_to(folder).as_posix()}", path) for folder in folders for path in folder.rglob("*.py") if path.is_file()
    )


def _imports(source: bytes) -> set[str]:
    """Return the top-level names a file imports, inside functions too; what is no Python has none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            nodes = list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError):
        return set()
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    froms = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level}
    return {name.partition(".")[0] for name in plain | froms}
