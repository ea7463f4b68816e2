"""Prove an artifact before anything in it is parsed or unpickled, while copying it where nobody else can write."""

import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from hashlib import sha256
from io import BufferedReader, BufferedWriter
from pathlib import Path

from training.artifacts.manifest import FileEntry, Manifest, digest_of
from training.artifacts.members import Member, newest
from training.artifacts.signing import is_signed
from training.errors import ArtifactError, MissingArtifactError, TamperedArtifactError, UnsignedArtifactError

MANIFEST, SIGNATURE = "manifest.json", "signature"
_MANIFEST_LIMIT_BYTES = 16 << 20
_SIGNATURE_LIMIT_BYTES = 1024
_CHUNK_BYTES = 1 << 18


def verify_into_cache(source: Path, cache: Path, key: bytes, expected_digest: str | None = None) -> tuple[Manifest, Path]:
    """Check an artifact and return its manifest with the folder of the private cache that holds the checked bytes.

    Every byte of the source is read once: what is hashed is what is copied. A copy that is in the cache already is checked
    again before it is used.

    Raises
    ------
    UnsignedArtifactError, TamperedArtifactError
        With the reason; nothing of the artifact was parsed but a manifest that carried a good signature.
    ArtifactError
        The artifact or the cache cannot be read or written.
    """
    try:
        with _opened(source) as folder:
            content, signature = _read_signed(folder, key)
            manifest = Manifest.from_json(content)
            digest = digest_of(content)
            _refuse_wrong_name(source, manifest, digest, expected_digest)
            _refuse_other_files(folder, manifest)
            cache.mkdir(mode=0o700, parents=True, exist_ok=True)
            target = cache / digest
            copy = None if _is_intact(target, key) else cache / f".copy-{secrets.token_hex(8)}"
            _copy_checked(folder, manifest, {MANIFEST: content, SIGNATURE: signature}, copy)
        if copy is not None:
            _put_in_place(copy, target, key)
        return manifest, target
    except OSError as error:
        raise ArtifactError(f"the artifact {source.name} cannot be read: {error.strerror}: {error.filename or source}") from error


def verify_cached(folder: Path, key: bytes) -> Manifest:
    """Check a folder of the private cache in place: for a start without the artifact it was copied from.

    Raises
    ------
    UnsignedArtifactError, TamperedArtifactError, ArtifactError
        As for `verify_into_cache`.
    """
    try:
        with _opened(folder) as opened:
            content, _ = _read_signed(opened, key)
            manifest = Manifest.from_json(content)
            if folder.name != digest_of(content):
                raise TamperedArtifactError(f"the cache folder {folder.name[:12]}… holds the artifact {digest_of(content)[:12]}…")
            _refuse_other_files(opened, manifest)
            _copy_checked(opened, manifest, {}, None)
            return manifest
    except OSError as error:
        raise ArtifactError(f"the cached artifact {folder.name[:12]}… cannot be read: {error.strerror}") from error


def verify_members(
    manifest: Manifest, source: Path | None, cache: Path, key: bytes, known: Mapping[str, Manifest] | None = None
) -> dict[str, Manifest]:
    """Check the members of a version, and that they are members of this one; return their manifests by digest.

    Parameters
    ----------
    source
        The version's folder, beside which those of its members lie; None where they are in the cache.
    known
        The manifests of members that were verified before, by digest: their files are not read again.

    Raises
    ------
    MissingArtifactError
        One is not there.
    UnsignedArtifactError, TamperedArtifactError, ArtifactError
        As for `verify_into_cache`; or one is of another model or contract, or has members itself. Nothing was unpickled.
    """
    verified: dict[str, Manifest] = {}
    for member in manifest.members or ():
        own = None if known is None else known.get(member.digest)
        try:
            verified[member.digest] = own or _verify_member(member, source, cache, key)
            _refuse_foreign(manifest, member, verified[member.digest])
        except ArtifactError as error:
            raise type(error)(f"its member {member.version}: {error}") from error
    if manifest.members is not None and manifest.trained_through_us != newest(manifest.members).trained_through_us:
        raise TamperedArtifactError("it was trained through another moment than the newest of its members")
    return verified


def verify_version(source: Path, cache: Path, key: bytes, expected_digest: str | None = None) -> tuple[Manifest, Path]:
    """Do what `verify_into_cache` does, and bring the members of the version into the cache too."""
    manifest, folder = verify_into_cache(source, cache, key, expected_digest)
    verify_members(manifest, source, cache, key)
    return manifest, folder


def verify_fitted(source: Path, cache: Path, key: bytes, expected_digest: str | None = None) -> tuple[Manifest, Path, Path]:
    """Do what `verify_into_cache` does; return, third, the folder that has what only a fitted model has: of members the newest's."""
    manifest, folder = verify_into_cache(source, cache, key, expected_digest)
    if manifest.members is None:
        return manifest, folder, folder
    member = newest(manifest.members)
    return manifest, folder, verify_into_cache(source.parent / member.version, cache, key, member.digest)[1]


def _verify_member(member: Member, source: Path | None, cache: Path, key: bytes) -> Manifest:
    path = cache / member.digest if source is None else source.parent / member.version
    if not path.is_symlink() and not path.exists():
        raise MissingArtifactError(f"{path} is missing")
    return verify_cached(path, key) if source is None else verify_into_cache(path, cache, key, member.digest)[0]


def _refuse_foreign(manifest: Manifest, member: Member, own: Manifest) -> None:
    if own.model != manifest.model:
        raise TamperedArtifactError(f"it is a version of {own.model}, wanted one of {manifest.model}")
    if own.members is not None:
        raise TamperedArtifactError("it has members itself")
    if own.contract_hash != manifest.contract_hash:
        raise TamperedArtifactError("it answers other requests: its contract is another")
    if own.trained_through_us != member.trained_through_us:
        raise TamperedArtifactError(f"it was trained through {own.trained_through_us}, not through {member.trained_through_us}")


def carries_signature(source: Path, key: bytes, expected_digest: str) -> bool | None:
    """Return whether an artifact was signed with a key; None where it is not the artifact of that digest, or not signed."""
    try:
        with _opened(source) as folder, _file(folder, MANIFEST) as manifest, _file(folder, SIGNATURE) as signature:
            content, signed = manifest.read(_MANIFEST_LIMIT_BYTES), signature.read(_SIGNATURE_LIMIT_BYTES)
    except (OSError, ArtifactError):
        return None
    return is_signed(key, content, signed) if signed.strip() and digest_of(content) == expected_digest else None


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    if folder.is_symlink():
        raise TamperedArtifactError(f"{folder.name} is a symbolic link, not an artifact folder")
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _read_signed(folder: int, key: bytes) -> tuple[bytes, bytes]:
    names = os.listdir(folder)
    if SIGNATURE not in names:
        raise UnsignedArtifactError("the artifact is not signed")
    if MANIFEST not in names:
        raise TamperedArtifactError(f"{MANIFEST} is missing")
    with _file(folder, SIGNATURE) as file:
        signature = file.read(_SIGNATURE_LIMIT_BYTES)
    with _file(folder, MANIFEST) as file:
        content = file.read(_MANIFEST_LIMIT_BYTES)
    if not signature.strip():
        raise UnsignedArtifactError("the artifact is not signed: its signature is empty")
    if not is_signed(key, content, signature):
        raise TamperedArtifactError(f"{MANIFEST} was signed with another key, or changed after it was signed")
    return content, signature


def verify_file(folder: Path, manifest: Manifest, name: str) -> None:
    """Compare one file of a copy in the cache with its manifest, which was verified before.

    Raises
    ------
    TamperedArtifactError
        It is another file than the one that was verified.
    """
    with (folder / name).open("rb") as source:
        _copy_file(name, manifest.files[name], source, None)


def _refuse_wrong_name(source: Path, manifest: Manifest, digest: str, expected_digest: str | None) -> None:
    if expected_digest is not None and digest != expected_digest:
        raise TamperedArtifactError(f"the artifact is {digest[:12]}…, the registry knows {expected_digest[:12]}…")
    version = manifest.named(digest)
    if source.name not in (version, digest):
        raise TamperedArtifactError(f"the folder {source.name} holds version {version}")


def _refuse_other_files(folder: int, manifest: Manifest) -> None:
    present, wanted = set(os.listdir(folder)), {MANIFEST, SIGNATURE, *manifest.files}
    if missing := sorted(wanted - present):
        raise TamperedArtifactError(f"file missing: {', '.join(missing)}")
    if extra := sorted(present - wanted):
        raise TamperedArtifactError(f"extra file: {', '.join(extra)}")
    if bad := [name for name in wanted if "/" in name or name in (".", "..")]:
        raise TamperedArtifactError(f"the manifest names a path: {bad[0]!r}")


@contextmanager
def _file(folder: int, name: str) -> Iterator[BufferedReader]:
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError as error:
        if stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            raise TamperedArtifactError(f"{name} is a symbolic link") from error
        raise
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise TamperedArtifactError(f"{name} is no regular file")
        yield file


def _copy_checked(folder: int, manifest: Manifest, signed: dict[str, bytes], copy: Path | None) -> None:
    """Hash every file against the manifest, writing the same bytes to `copy` unless that is None."""
    try:
        if copy is not None:
            copy.mkdir(mode=0o700)
            for name, content in signed.items():
                (copy / name).write_bytes(content)
        for name, entry in manifest.files.items():
            with _file(folder, name) as source, nullcontext() if copy is None else open(copy / name, "wb") as target:
                _copy_file(name, entry, source, target)
    except BaseException:
        if copy is not None:
            shutil.rmtree(copy, ignore_errors=True)
        raise


def _copy_file(name: str, entry: FileEntry, source: BufferedReader, target: BufferedWriter | None) -> None:
    digest, size = sha256(), 0
    chunk = memoryview(bytearray(_CHUNK_BYTES))  # one for all: fresh memory for each chunk takes longer than hashing it
    while count := source.readinto(chunk):
        size += count
        if size > entry.size:
            raise TamperedArtifactError(f"{name} was changed: it is longer than the {entry.size} bytes of its manifest")
        digest.update(chunk[:count])
        if target is not None:
            target.write(chunk[:count])
    if size < entry.size:
        raise TamperedArtifactError(f"{name} is truncated: {size} of {entry.size} bytes")
    if digest.hexdigest() != entry.sha256:
        raise TamperedArtifactError(f"{name} was changed: its SHA-256 is not the one of its manifest")


def _is_intact(target: Path, key: bytes) -> bool:
    if not target.exists():
        return False
    try:
        verify_cached(target, key)
    except ArtifactError:
        aside = target.with_name(f".bad-{secrets.token_hex(8)}")
        with suppress(FileNotFoundError):
            target.rename(aside)
            shutil.rmtree(aside, ignore_errors=True)
        return False
    return True


def _put_in_place(copy: Path, target: Path, key: bytes) -> None:
    try:
        copy.rename(target)
    except OSError:  # another process was first: its copy must be as good
        shutil.rmtree(copy, ignore_errors=True)
        verify_cached(target, key)
