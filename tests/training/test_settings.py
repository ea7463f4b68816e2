from pathlib import Path

import pytest
import sqlalchemy as sa

from training.errors import SettingsError
from training.settings import Home, from_environment
from training.storage.database import open_database


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


NAMES = ["a b", "a%20b", "a%2520b", "a?b", "a?c", "a", "a#b", "a&b=c", "a%", "%3F", "ä+ü", "a;b", "a:b@c", "a'b", 'a"b', "a\\b"]


def test_homes_of_any_name_have_a_database_each(tmp_path: Path) -> None:
    for name in NAMES:
        settings = from_environment({"EVERGREEN_HOME": str(Home(tmp_path / name).ensure().path)})
        database = open_database(settings.database_url)
        database.prepare(f"of {name}"[:20], sa.MetaData(), version=1)
        database.close()

    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.db")) == sorted(
        f"{name}/evergreen.db" for name in NAMES
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(NAMES)


@pytest.mark.parametrize(("name", "former"), [("a%20b", "a b/evergreen.db"), ("a?b", "a"), ("a%3fb", "a?b/evergreen.db")])
def test_a_database_that_an_earlier_version_put_elsewhere_is_named_and_not_passed_over(tmp_path: Path, name: str, former: str) -> None:
    home = Home(tmp_path / name).ensure()
    (tmp_path / former).parent.mkdir(exist_ok=True)
    (tmp_path / former).touch()
    fresh = from_environment({"EVERGREEN_HOME": str(home.path)})
    home.ids_key.touch()

    with pytest.raises(SettingsError, match="earlier versions put it") as raised:
        from_environment({"EVERGREEN_HOME": str(home.path)})
    with_url = from_environment({"EVERGREEN_HOME": str(home.path), "EVERGREEN_DATABASE_URL": "sqlite:////elsewhere.db"})
    (tmp_path / former).rename(home.database)
    moved = from_environment({"EVERGREEN_HOME": str(home.path)})

    assert str(tmp_path / former) in str(raised.value)
    assert (fresh.database_url, with_url.database_url, moved.database_url) == (
        home.database_url,
        "sqlite:////elsewhere.db",
        home.database_url,
    )
