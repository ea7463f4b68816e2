"""A model file costs no more than a model file may: what is beyond a bound is refused with its line and field, before it is read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from training.errors import SpecError
from training.model_file.bounds import MOST_LETTERS, MOST_LEVELS, MOST_VALUES
from training.model_file.model_spec import load_spec, parse_spec

LEAST = "model: m\nschema: {target: y, task: binary, features: {x: numeric}}\n"
LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [" + ", ".join([f"*a{n - 1}"] * 10) + "]\n" for n in range(1, 12)
)
CHAIN = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 3000))


def refusal(text: str) -> str:
    with pytest.raises(SpecError) as caught:
        parse_spec(text)
    [problem] = caught.value.problems
    return str(problem)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param(LEAST + LAUGHS, rf"line 7, a4.*: makes more than {MOST_VALUES} values", id="billion laughs"),
        pytest.param(LEAST + CHAIN, rf"line 22, a19.*: is nested deeper than {MOST_LEVELS} levels", id="aliases in aliases"),
        pytest.param(LEAST + "x: " + "[" * 3000 + "]" * 3000, r"line 3, x.*: is nested deeper", id="brackets"),
        pytest.param(LEAST + "x: " + "{a: " * 3000 + "}" * 3000, r"line 3, x.a.a.a.*: is nested deeper", id="braces"),
        pytest.param(LEAST + "".join(" " * n + "a:\n" for n in range(300)), r"line 23, a.a.a.*: is nested deeper", id="indented"),
        pytest.param(LEAST + "x: " + "- " * 300 + "a", r"line 3", id="dashes"),
        pytest.param(LEAST + "x: &x [*x]", r"line 3, x.0: the alias \*x stands within", id="an alias of itself"),
        pytest.param(LEAST + "x: &x {y: {z: *x}}", r"line 3, x.y.z: the alias \*x stands within", id="an alias of what is around it"),
        pytest.param(LEAST + "x: !!python/object/apply:os.system [ls]", r"line 3, x: has the tag .*apply:os.system", id="call"),
        pytest.param(LEAST + "labels:\n  delay: !!python/name:os.system\n", r"line 4, labels.delay: has the tag", id="name"),
        pytest.param(LEAST + "!!python/name:os.system : 1\n", r"line 3, .*: has the tag", id="a key"),
        pytest.param(LEAST + "x: !mine 1", r"line 3, x: has the tag !mine", id="a tag of one's own"),
        pytest.param(LEAST + "x: !!binary aGk=", r"line 3, x: has the tag", id="binary"),
        pytest.param(LEAST + "labels:\n  delay: !!int soon\n", r"line 4, labels.delay: cannot be read", id="no number"),
        pytest.param(LEAST + "labels:\n  delay: " + "9" * 5000, r"line 4, labels.delay: cannot be read", id="5,000 digits"),
        pytest.param(LEAST + "labels:\n  ? [a, b]\n  : 1", r"line 4, .*: cannot be read", id="a list for a key"),
        pytest.param("x: &x {a: 1}\n" + LEAST + "<<: [*x, 3]\n", r"line 4, <<.*: cannot be read", id="a merge of no mapping"),
        pytest.param("#" * (MOST_LETTERS + 1), rf"line 1, file: .* more than {MOST_LETTERS} letters", id="letters"),
        pytest.param(LEAST + "x: [" + "1," * (MOST_VALUES + 1) + "]", r"line 3, x.*: makes more than", id="values"),
    ],
)  # fmt: skip
def test_what_is_beyond_a_bound_is_refused_with_line_and_field(text: str, sentence: str) -> None:
    assert re.match(sentence, refusal(text))


def test_a_large_file_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "model.yaml"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # a hole: who reads all of it runs out of memory

    with pytest.raises(SpecError, match="letters"):
        load_spec(path)


def test_aliases_within_bounds_are_read() -> None:
    features = "{x: &plain {kind: numeric, minimum: 0}, y2: *plain, z: {<<: *plain}}"

    spec = parse_spec(LEAST.replace("{x: numeric}", features))

    assert [(feature.name, feature.minimum) for feature in spec.schema.features] == [("x", 0.0), ("y2", 0.0), ("z", 0.0)]


def test_many_categories_are_read() -> None:
    names = ", ".join(f"town-{n}" for n in range(10_000))

    spec = parse_spec(LEAST.replace("x: numeric", f"x: {{kind: categorical, categories: [{names}]}}"))

    assert len(spec.schema.features[0].categories or ()) == 10_000


@pytest.mark.parametrize("tagged", ["!!str 7d", "!!str '7d'", "! 7d"])
def test_a_plain_tag_is_read(tagged: str) -> None:
    assert parse_spec(LEAST + f"labels: {{delay: {tagged}}}\n").labels.delay.days == 7
