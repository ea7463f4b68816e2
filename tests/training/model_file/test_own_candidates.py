"""Candidates of one's own in a model file: what is taken, what is refused where, and that nothing is imported."""

import sys

import pytest

from training.errors import SpecError
from training.model_file.model_spec import parse_spec
from training.policies import OwnCandidate

HEAD = "model: m\nschema: {target: y, task: binary, features: {x: numeric}}\n"


def candidates(written: str) -> tuple[object, ...]:
    return parse_spec(f"{HEAD}training: {{candidates: {written}}}").training.candidates


def test_families_and_ones_own_stand_side_by_side_and_nothing_is_imported() -> None:
    written = "[linear, {name: mine, factory: 'this.module:build', params: {rounds: 5}, tune: {depth: [4, 6], deep: [null, {a: 1}]}}]"

    spec = candidates(written)

    own = OwnCandidate("mine", "this.module:build", {"rounds": 5}, {"depth": [4, 6], "deep": [None, {"a": 1}]})
    assert spec == ("linear", own)
    assert "this.module" not in sys.modules


@pytest.mark.parametrize(
    ("written", "field", "words"),
    [
        ("[{factory: 'a.b:c'}]", "training.candidates.0.name", "Missing data"),
        ("[{name: mine}]", "training.candidates.0.factory", "Missing data"),
        ("[linear, {name: boosting, factory: 'a.b:c'}]", "training.candidates.1.name", "family of Evergreen's"),
        ("[{name: baseline, factory: 'a.b:c'}]", "training.candidates.0.name", "family of Evergreen's"),
        ("[{name: My Own, factory: 'a.b:c'}]", "training.candidates.0.name", "is no name of a candidate"),
        ("[{name: mine, factory: a.b}]", "training.candidates.0.factory", "write package.module:function"),
        ("[{name: mine, factory: 'a.b:c()'}]", "training.candidates.0.factory", "write package.module:function"),
        ("[{name: mine, factory: 5}]", "training.candidates.0.factory", "Not a valid string; got 5"),
        ("[{name: mine, factory: 'training.run:train'}]", "training.candidates.0.factory", "'training' is a package of Evergreen's"),
        ("[{name: mine, factory: 'service:app'}]", "training.candidates.0.factory", "'service' is a package of Evergreen's"),
        ("[{name: mine, factory: 'monitoring.x:y'}]", "training.candidates.0.factory", "'monitoring' is a package of Evergreen's"),
        ("[{name: mine, factory: '__main__:build'}]", "training.candidates.0.factory", "another process"),
        ("[{name: mine, factory: 'a:b', params: {seed: 1}}]", "training.candidates.0.params.seed", "given by Evergreen"),
        ("[{name: mine, factory: 'a:b', params: {two words: 1}}]", "training.candidates.0.params.two words", "is no name of a parameter"),
        ("[{name: mine, factory: 'a:b', params: {x: .nan}}]", "training.candidates.0.params.x", "no finite number"),
        ("[{name: mine, factory: 'a:b', tune: {schema: [1]}}]", "training.candidates.0.tune.schema", "given by Evergreen"),
        ("[{name: mine, factory: 'a:b', tune: {x: []}}]", "training.candidates.0.tune.x", "Shorter than minimum length 1; got []"),
        ("[{name: mine, factory: 'a:b', tune: {x: [1, .inf]}}]", "training.candidates.0.tune.x", "no finite number"),
        ("[{name: mine, factory: 'a:b', tune: {x: 5}}]", "training.candidates.0.tune.x", "Not a valid list; got 5"),
        ("[{name: mine, factory: 'a:b', parms: {}}]", "training.candidates.0.parms", "did you mean 'params'"),
        ("[{name: me, factory: 'a:b'}, {name: me, factory: 'a:c'}]", "training.candidates.0", "another candidate has this name"),
        ("[5]", "training.candidates.0", "5 is none of: linear, forest, boosting"),
        ("[[linear]]", "training.candidates.0", "is none of: linear, forest, boosting"),
        ("[null]", "training.candidates.0", "may not be null"),
    ],
)
def test_a_mistake_is_told_with_its_field(written: str, field: str, words: str) -> None:
    with pytest.raises(SpecError) as caught:
        candidates(written)

    problem = caught.value.problems[0]
    assert (problem.line, problem.field) == (3, field)
    assert words in problem.message
