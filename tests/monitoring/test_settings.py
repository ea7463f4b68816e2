"""Settings of the monitor: a wrong one is a sentence that names it, and shows no secret."""

from __future__ import annotations

import base64

import pytest

from monitoring.settings import from_environment
from training.errors import SettingsError

SECRET = "whsec_" + base64.b64encode(b"k" * 24).decode()
HOOK = {"EVERGREEN_WEBHOOK_URL": "https://ann:hush@hooks.example.com:8443/services/T0/xyz?k=1", "EVERGREEN_WEBHOOK_SECRET": SECRET}
MAIL = {
    "EVERGREEN_MAIL_TO": "ann@example.com, bob@example.com",
    "EVERGREEN_MAIL_FROM": "evergreen@example.com",
    "EVERGREEN_SMTP": "mail.example.com:587",
    "EVERGREEN_SMTP_USER": "eve",
    "EVERGREEN_SMTP_PASSWORD": "topsecret",
}


def test_a_webhook_and_mail_are_read_and_show_no_secret() -> None:
    settings = from_environment({**HOOK, **MAIL, "EVERGREEN_WEBHOOK_SECRET": f"{SECRET} {SECRET}"})

    assert settings.webhook is not None
    assert settings.mail is not None
    assert settings.webhook.keys == (b"k" * 24, b"k" * 24)
    assert (settings.webhook.where, settings.mail.where) == (
        "https://hooks.example.com:8443", "ann@example.com, bob@example.com by mail.example.com:587")  # fmt: skip
    assert [word for word in ("hush", "xyz", "kkkk", "topsecret") if word in repr(settings)] == []
    assert (from_environment({}).webhook, from_environment({}).mail) == (None, None)


@pytest.mark.parametrize(
    ("environment", "variable"),
    [
        ({**HOOK, "EVERGREEN_WEBHOOK_URL": "ftp://hush@example.com/"}, "EVERGREEN_WEBHOOK_URL"),
        ({**HOOK, "EVERGREEN_WEBHOOK_URL": "https://example.com:0x1/hush"}, "EVERGREEN_WEBHOOK_URL"),
        ({**HOOK, "EVERGREEN_WEBHOOK_URL": "https:///hush"}, "EVERGREEN_WEBHOOK_URL"),
        ({**HOOK, "EVERGREEN_WEBHOOK_URL": "https://example.com/hush word"}, "EVERGREEN_WEBHOOK_URL"),
        ({**HOOK, "EVERGREEN_WEBHOOK_URL": "https://example.com/hush\r\nx: y"}, "EVERGREEN_WEBHOOK_URL"),
        ({"EVERGREEN_WEBHOOK_URL": HOOK["EVERGREEN_WEBHOOK_URL"]}, "EVERGREEN_WEBHOOK_SECRET"),
        ({"EVERGREEN_WEBHOOK_SECRET": SECRET}, "EVERGREEN_WEBHOOK_URL"),
        ({**HOOK, "EVERGREEN_WEBHOOK_SECRET": "hush"}, "EVERGREEN_WEBHOOK_SECRET"),
        ({**HOOK, "EVERGREEN_WEBHOOK_SECRET": "whsec_hush"}, "EVERGREEN_WEBHOOK_SECRET"),
        ({**HOOK, "EVERGREEN_WEBHOOK_SECRET": f"{SECRET},{SECRET}"}, "EVERGREEN_WEBHOOK_SECRET"),
        ({**MAIL, "EVERGREEN_MAIL_TO": ""}, "EVERGREEN_MAIL_TO"),
        ({**MAIL, "EVERGREEN_MAIL_TO": "ann"}, "EVERGREEN_MAIL_TO"),
        ({**MAIL, "EVERGREEN_MAIL_FROM": "a@b\r\nBcc: c@d"}, "EVERGREEN_MAIL_FROM"),
        ({**MAIL, "EVERGREEN_SMTP": "mail.example.com"}, "EVERGREEN_SMTP"),
        ({**MAIL, "EVERGREEN_SMTP_ENCRYPTION": "ssl"}, "EVERGREEN_SMTP_ENCRYPTION"),
        ({**MAIL, "EVERGREEN_SMTP_ENCRYPTION": "none"}, "EVERGREEN_SMTP_ENCRYPTION"),
        ({**MAIL, "EVERGREEN_SMTP_USER": ""}, "EVERGREEN_SMTP_USER"),
    ],
)
def test_a_wrong_setting_is_named_without_the_secret_in_it(environment: dict[str, str], variable: str) -> None:
    with pytest.raises(SettingsError, match=rf"{variable}\b") as failure:
        from_environment(environment)

    assert "hush" not in str(failure.value)
    assert "topsecret" not in str(failure.value)
    assert SECRET not in str(failure.value)
