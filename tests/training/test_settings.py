from pathlib import Path

import pytest

from training.errors import SettingsError
from training.settings import Home, from_environment


def test_without_variables_the_home_is_in_the_working_directory() -> None:
    settings = from_environment({})

    assert settings.home.path == Path.cwd() / ".evergreen"
    assert settings.database_url == f"sqlite:///{settings.home.database}"


@pytest.mark.parametrize(
    "variable", [{"EVERGREEN_TRAINING_BACKEND": "magic"}, {"EVERGREEN_TRAINING_JOBS": "0"}, {"EVERGREEN_TRAINING_JOBS": "many"}]
)
def test_a_wrong_variable_is_named(variable: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=next(iter(variable))):
        from_environment(variable)


def test_a_home_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    home = Home(tmp_path / "home").ensure().ensure()

    assert home.path.stat().st_mode & 0o777 == 0o700
    assert home.artifacts.is_dir()
