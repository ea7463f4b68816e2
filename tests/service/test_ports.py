"""Addresses: who may listen on one."""

import pytest

from service.errors import SettingsError
from service.ports import refuse_open_bind, refuse_taken


def test_without_keys_only_loopback_may_be_bound() -> None:
    refuse_open_bind(is_loopback=True, bind="127.0.0.1:8000", has_keys=False)
    refuse_open_bind(is_loopback=False, bind="0.0.0.0:8000", has_keys=True)

    with pytest.raises(SettingsError, match=r"refusing to listen on 0\.0\.0\.0:8000 without a key file"):
        refuse_open_bind(is_loopback=False, bind="0.0.0.0:8000", has_keys=False)


@pytest.mark.parametrize("host", ["nosuch.invalid", "a..b"])
def test_a_host_nobody_can_listen_on_is_not_called_taken(host: str) -> None:
    with pytest.raises(SettingsError) as refused:
        refuse_taken(f"{host}:8000", "EVERGREEN_BIND", wait_seconds=60.0)

    assert str(refused.value).startswith(f"cannot listen on {host}:8000: ")
    assert str(refused.value).endswith(". Set EVERGREEN_BIND to another address")


@pytest.mark.parametrize("bind", ["localhost", "127.0.0.1:99999", "127.0.0.1:²", ":8000"])
def test_what_is_no_address_is_refused_with_its_variable(bind: str) -> None:
    with pytest.raises(SettingsError, match=r"EVERGREEN_MONITOR_BIND is .*; it must be host:port"):
        refuse_taken(bind, "EVERGREEN_MONITOR_BIND")
