"""What counts as the code of a factory, and when a process may not load what was made with it."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.own_package import forget, write_package
from training.errors import OtherCodeError
from training.own_code import Code, child_environment, extend_path, imported_code, load_factory, refuse_other_code

FACTORY = "my_code.models:build"
BODY = "import numpy\nimport json\nimport helper_beside\nfrom training.errors import SpecError\ndef build(schema, *, seed):\n    pass\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the path with a package and a module beside it."""
    monkeypatch.syspath_prepend(str(tmp_path))
    write_package(tmp_path, "my_code", BODY)
    (tmp_path / "helper_beside.py").write_text("import pandas\n")
    forget("my_code")
    yield tmp_path
    forget("my_code")
    forget("helper_beside")


def code() -> Code:
    forget("my_code")
    return imported_code(FACTORY)


def test_code_is_the_files_of_the_package_and_the_libraries_it_imports(folder: Path) -> None:
    assert set(code().distributions) == {"numpy", "pandas"}
    assert "my_code" not in sys.modules


@pytest.mark.parametrize("place", ["my_code/models.py", "my_code/__init__.py", "my_code/deep/new.py", "helper_beside.py"])
def test_a_changed_or_new_file_is_other_code(folder: Path, place: str) -> None:
    before = code()
    (folder / place).parent.mkdir(exist_ok=True)

    with (folder / place).open("a") as file:
        file.write("# changed\n")

    assert code().differences(before) == ["the files of my_code"]


@pytest.mark.parametrize("place", ["my_code/notes.txt", "other_package.py"])
def test_what_is_no_code_of_it_changes_nothing(folder: Path, place: str) -> None:
    before = code()

    (folder / place).write_text("x = 1\n")

    assert code() == before


def test_code_survives_its_stored_form(folder: Path) -> None:
    assert Code.from_dict(code().to_dict()) == code()


def test_a_process_that_imported_other_code_has_to_be_restarted(folder: Path) -> None:
    load_factory(FACTORY)
    (folder / "my_code" / "models.py").write_text(BODY + "# newer\n")
    newer = Code.from_dict(in_fresh_process(folder))

    with pytest.raises(OtherCodeError, match=r"imported my_code before .*: restart the service"):
        refuse_other_code(newer)


def test_other_code_on_the_disk_is_named_and_may_be_brought_back(folder: Path) -> None:
    made_with = code()
    (folder / "my_code" / "models.py").write_text(BODY + "# newer\n")

    with pytest.raises(OtherCodeError, match=r"differing are the files of my_code: bring that code back"):
        refuse_other_code(made_with)
    (folder / "my_code" / "models.py").write_text(BODY)

    refuse_other_code(made_with)


def test_a_library_of_another_version_is_named(folder: Path) -> None:
    made_with = code()
    older = Code(made_with.factory, made_with.files, {**made_with.distributions, "pandas": "0.1"})

    with pytest.raises(OtherCodeError, match=r"differing are pandas 0\.1 \(now "):
        refuse_other_code(older)


def test_the_folder_is_looked_into_last_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))

    extend_path(tmp_path)
    extend_path(tmp_path)
    extend_path(None)

    assert sys.path[-1] == str(tmp_path)
    assert sys.path.count(str(tmp_path)) == 1


def test_a_child_elsewhere_finds_a_folder_that_was_named_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EVERGREEN_CODE", "mine")

    assert child_environment()["EVERGREEN_CODE"] == str(tmp_path / "mine")


def in_fresh_process(folder: Path) -> dict[str, object]:
    """Return the stored form of the code as a process that starts now imports it."""
    kept = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "my_code"}
    remembered = imported_code(FACTORY)
    forget("my_code")
    stored = imported_code(FACTORY).to_dict()
    sys.modules.update(kept)
    from training import own_code

    own_code._imported["my_code"] = (remembered.files, remembered.distributions)
    return stored
