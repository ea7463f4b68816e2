"""What an artifact says of itself, and the digest of every file in it."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import version as version_of
from typing import Any, Self

from training.artifacts.members import Member, refuse_wrong
from training.clock import from_us, to_us
from training.errors import TamperedArtifactError
from training.json_text import from_text, to_bytes
from training.own_code import Code

LIBRARIES = ("scikit-learn", "numpy", "joblib", "scipy")
# Fields that older manifests do not have: left out where they hold nothing, so that digests stay.
_LATER = ("code", "original", "asked", "members", "weighed_through_us", "generation", "reweighed", "threshold")
_TIMES = ("created", "data_start", "data_end")


@dataclass(frozen=True, slots=True)
class FileEntry:
    """SHA-256 (hexadecimal) and size in bytes of one file."""

    sha256: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The facts about a version; its canonical bytes are signed, and their SHA-256 is the artifact's digest.

    Attributes
    ----------
    created
        When the artifact was made (machine time).
    parent
        The champion at that time.
    rows_digest
        Which stored training rows it was fitted on; None for an imported pipeline.
    data_start, data_end
        Model time of the first and the last training row.
    trained_through_us
        Model time of the last row the fitted model has seen, calibration included; microseconds since the epoch. Of a version of members
        the newest of theirs.
    data_fingerprint, schema_hash
        Digests of the training rows and of the schema, for whoever compares manifests: nothing here reads them. They stay,
        for they are in the bytes that are signed, and earlier releases take no manifest without them.
    metrics
        Hold-out metrics, name to {value, low, high, n}.
    model_sha256
        SHA-256 of the fitted model's bytes; of a version of members that of their canonical bytes, with the threshold where there is one.
    code
        The code of each candidate of a user's own, by name; None without any.
    original
        Of an imported model that is refitted as what it was: `sha256` of the stored estimator, `why_not` where it cannot be.
    asked
        What the model file asks of the version beyond its defaults, such as ``{"class_weight": "balanced"}``; None for nothing.
    members
        Which artifacts answer in this version, together; None where it has a fitted model of its own.
    weighed_through_us
        Model time of the last row that weights and maps were fitted on; None where they never were.
    generation
        The first version with these members; None where this is it.
    reweighed
        Which reweigh of its generation this is, from 1; None for the first version of one.
    threshold
        From which probability on the positive of two classes is decided; None where the most probable class or the cheapest one is.
    """

    model: str
    created: datetime
    parent: str | None
    rows_digest: str | None
    data_fingerprint: str | None
    data_start: datetime
    data_end: datetime
    trained_through_us: int
    metrics: Mapping[str, Any]
    schema: Mapping[str, Any]
    contract_hash: str
    schema_hash: str
    libraries: Mapping[str, str]
    seed: int
    algorithm: str
    params: Mapping[str, Any]
    rungs: int
    fits: int
    durations: Mapping[str, float]
    bins_id: str
    model_sha256: str
    files: Mapping[str, FileEntry]
    code: Mapping[str, Any] | None = None
    original: Mapping[str, Any] | None = None
    asked: Mapping[str, Any] | None = None
    members: tuple[Member, ...] | None = None
    weighed_through_us: int | None = None
    generation: str | None = None
    reweighed: int | None = None
    threshold: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; times as microseconds since the epoch."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        values = {name: value for name, value in values.items() if name not in _LATER or value is not None}
        times = {name: to_us(values[name]) for name in _TIMES}
        if self.members is not None:
            values["members"] = [member.to_dict() for member in self.members]
        return {**values, **times, "files": {name: {"sha256": e.sha256, "size": e.size} for name, e in self.files.items()}}

    def to_json(self) -> bytes:
        """Return the canonical bytes: what is signed."""
        return to_bytes(self.to_dict())

    @classmethod
    def from_json(cls, content: bytes) -> Self:
        """Read a manifest whose signature was checked.

        Raises
        ------
        TamperedArtifactError
            These are no manifest's bytes.
        """
        try:
            values = from_text(content)
            times = {name: from_us(values[name]) for name in _TIMES}
            files = {name: FileEntry(entry["sha256"], entry["size"]) for name, entry in values["files"].items()}
            if values.get("members") is not None:
                values["members"] = tuple(map(Member.from_dict, values["members"]))
                refuse_wrong(values["members"])
            _refuse_wrong_threshold(values.get("threshold"))
            return cls(**{**values, **times, "files": files})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise TamperedArtifactError(f"manifest.json is not a manifest: {error}") from error

    def as_member(self, family: str) -> Member:
        """Return a version with a fitted model of its own as the only member of a version: all the weight, no map."""
        return Member(self.version, self.digest, family, self.trained_through_us, 1.0)

    @property
    def served_code(self) -> Code | None:
        """The code of the user's own candidate it was made by; None where it was made by none."""
        stored = (self.code or {}).get(self.algorithm)
        return None if stored is None else Code.from_dict(stored)

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical bytes."""
        return digest_of(self.to_json())

    @property
    def version(self) -> str:
        """The name of the version: sortable by the time it was made, never reused."""
        return self.named(self.digest)

    def named(self, digest: str) -> str:
        """Return the name of the version, where its digest is known."""
        return version_name(self.created, digest) if self.reweighed is None else f"{self.generation}.{self.reweighed:04}"


def _refuse_wrong_threshold(threshold: float | None) -> None:
    if threshold is not None and not 0.0 <= threshold <= 1.0:
        raise ValueError(f"the threshold is {threshold!r}, wanted a number from 0 to 1")


def version_name(created: datetime, digest: str) -> str:
    """Return the name of a version.

    Examples
    --------
    >>> version_name(from_us(0), "0123456789abcdef")
    '19700101T000000Z-0123456789ab'
    """
    return f"{created.astimezone(UTC):%Y%m%dT%H%M%SZ}-{digest[:12]}"


def generation_of(version: str) -> str:
    """Return the generation of a version: the first one with the same members.

    Examples
    --------
    >>> generation_of("19700101T000000Z-0123456789ab.0007"), generation_of("19700101T000000Z-0123456789ab")
    ('19700101T000000Z-0123456789ab', '19700101T000000Z-0123456789ab')
    """
    return version.partition(".")[0]


def digest_of(content: bytes) -> str:
    """Return the SHA-256 of some bytes as hexadecimal digits."""
    return sha256(content).hexdigest()


def current_libraries() -> dict[str, str]:
    """Return the versions of Python and of the libraries a fitted model depends on."""
    return {"python": platform.python_version(), **{name: version_of(name) for name in LIBRARIES}}


def differing_libraries(made_with: Mapping[str, str], current: Mapping[str, str]) -> list[str]:
    """Return which libraries differ in major or minor version.

    Examples
    --------
    >>> differing_libraries({"numpy": "2.4.6"}, {"numpy": "2.5.0", "scipy": "1.1"})
    ['numpy 2.4.6 (here 2.5.0)']
    """
    pairs = [(name, made_with[name], current.get(name, "none")) for name in LIBRARIES if name in made_with]
    return [f"{name} {then} (here {now})" for name, then, now in pairs if then.split(".")[:2] != now.split(".")[:2]]
