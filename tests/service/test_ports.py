"""Addresses: who may listen on one."""

import pytest

from service.errors import SettingsError
from service.ports import refuse_open_bind


def test_without_keys_only_loopback_may_be_bound() -> None:
    refuse_open_bind(is_loopback=True, bind="127.0.0.1:8000", has_keys=False)
    refuse_open_bind(is_loopback=False, bind="0.0.0.0:8000", has_keys=True)

    with pytest.raises(SettingsError, match=r"refusing to listen on 0\.0\.0\.0:8000 without a key file"):
        refuse_open_bind(is_loopback=False, bind="0.0.0.0:8000", has_keys=False)
