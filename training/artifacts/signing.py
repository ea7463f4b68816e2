"""Keys made at first start, and the signatures made with them."""

import hmac
import os
import secrets
import stat
from hashlib import sha256
from pathlib import Path

from training.errors import SigningKeyError

_KEY_BYTES = 32


def load_or_make_key(path: Path) -> bytes:
    """Return the key in a file; make a random one of 256 bits, readable by its owner only, where there is none.

    When several processes make the key at once, one wins and all get that one.

    Raises
    ------
    SigningKeyError
        The file is readable by others, no regular file, not a key, or cannot be read or made.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "signing.key"
    >>> load_or_make_key(path) == load_or_make_key(path)
    True
    """
    try:
        if not path.exists():
            _make_key(path)
        return _read_key(path)
    except OSError as error:
        raise SigningKeyError(f"the key {path} cannot be used: {error.strerror}") from error


def sign(key: bytes, content: bytes) -> str:
    """Return the HMAC-SHA256 of some bytes as hexadecimal digits.

    References
    ----------
    Krawczyk, Bellare, Canetti: HMAC: Keyed-Hashing for Message Authentication, RFC 2104, 1997.
    """
    return hmac.new(key, content, sha256).hexdigest()


def is_signed(key: bytes, content: bytes, signature: bytes) -> bool:
    """Return whether a signature belongs to the key and the bytes; takes the same time for every wrong one."""
    return hmac.compare_digest(sign(key, content).encode(), signature.strip())


def _make_key(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_hex(_KEY_BYTES).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)  # fails when another process was first: its key counts
        except FileExistsError:
            return
    finally:
        draft.unlink()


def _read_key(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise SigningKeyError(f"the key {path} is no regular file")
        # A key mounted from a Secret belongs to root and is read through its group: that is private enough.
        forbidden = 0o077 if status.st_uid == os.geteuid() else 0o037
        if status.st_mode & forbidden:
            raise SigningKeyError(f"the key {path} has mode {stat.S_IMODE(status.st_mode):04o}: others may use it, wanted 0600")
        content = file.read(4096)
    try:
        key = bytes.fromhex(content.decode("ascii").strip())
    except ValueError:
        raise SigningKeyError(f"the key {path} is not a key: wanted {2 * _KEY_BYTES} hexadecimal digits") from None
    if len(key) < _KEY_BYTES:
        raise SigningKeyError(f"the key {path} has {8 * len(key)} bits, wanted at least {8 * _KEY_BYTES}")
    return key
