"""What a registry names and a home may lack: artifacts, training rows, and the key that artifacts were signed with.

The registry may lie in a database that several homes share; what it names lies in one of them.
"""

from training.artifacts.signing import load_or_make_key
from training.artifacts.verification import carries_signature
from training.errors import DatabaseUnavailableError, SigningKeyError
from training.registry.aliases import CHAMPION
from training.registry.registry import Registry
from training.registry.tables import VersionRecord
from training.settings import Home


def signing_key_of(home: Home, registry: Registry) -> bytes:
    """Return the key of a home; make one only where nothing was ever signed.

    Raises
    ------
    SigningKeyError
        It cannot be used, or it is gone and there are versions that were signed with it.
    SchemaVersionError
        It is gone, and whether there are versions cannot be told.
    """
    if not home.signing_key.exists() and _has_versions(home, registry):
        raise SigningKeyError(
            f"there is no signing key {home.signing_key}, and there are versions that were signed with one: "
            "restore it from a backup, or use the home in which they were trained"
        )
    return load_or_make_key(home.signing_key)


def out_of_reach(home: Home, registry: Registry) -> dict[str, str]:
    """Return what the registry names and this home has not, a sentence for each model that lacks something.

    Raises
    ------
    DatabaseUnavailableError, SchemaVersionError
        The registry cannot be asked.
    SigningKeyError
        The key is there and cannot be used.
    """
    lacking: dict[str, str] = {}
    for alias in registry.aliases():
        if alias.alias != CHAMPION:
            continue
        record = registry.version(alias.model, alias.version)
        rows = record.manifest.get("rows_digest")
        folders = [record.path, *(record.path.with_name(member.version) for member in record.members)]
        needed = [home.signing_key, *(home.artifacts / path for path in folders), *([home.rows / f"{rows}.parquet"] if rows else [])]
        missing = [str(path) for path in needed if not path.exists()]
        if missing:
            lacking[alias.model] = f"the registry names version {alias.version}, and this home lacks {', '.join(missing)}"
        elif is_of_another_key(load_or_make_key(home.signing_key), home, registry, record):
            lacking[alias.model] = (
                f"the registry names version {alias.version}, and this home lacks the key it was signed with: {home.signing_key} is another"
            )
    return lacking


def is_of_another_key(key: bytes, home: Home, registry: Registry, record: VersionRecord) -> bool:
    """Return whether a version is as it was registered, but signed with another key than the one of its home.

    Where any version that the registry names was signed with this one, the key is right and the signature was changed.

    Raises
    ------
    DatabaseUnavailableError, SchemaVersionError
        The registry cannot be asked.
    """

    def carries(version: VersionRecord) -> bool | None:
        return carries_signature(home.artifacts / version.path, key, version.digest)

    if carries(record) is not False:
        return False
    return not any(carries(version) for model in registry.models() for version in registry.versions(model.name))


def _has_versions(home: Home, registry: Registry) -> bool:
    if any(home.artifacts.glob("*/[!.]*")):
        return True
    try:
        return any(registry.versions(model.name) for model in registry.models())
    except DatabaseUnavailableError:
        return False
