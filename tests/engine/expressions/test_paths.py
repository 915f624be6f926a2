"""Paths: what they select, where they place, and what AWS says when nothing is there."""

import pytest

from app.engine.expressions.paths import (
    InvalidPath,
    PathError,
    compile_path,
    compile_reference_path,
)
from app.engine.language.flow import Scope
from app.strict_json import Json

VARIABLES: Json = {"order": {"items": [1, 2]}}
SCOPE = Scope(0, "seed", lambda: {"State": {"Name": "First"}}, lambda: VARIABLES)
DATA: Json = {
    "a": {"b": [10, 20, 30], "c-d": 1, "e f": 2},
    "text": "word",
    "nothing": None,
    "users": [{"status": 0, "n": 1}, {"status": 1, "n": 2}],
}

NO_OBJECT = (
    ". This is not a json object according to the JsonProvider: "
    "'com.jayway.jsonpath.spi.json.JsonSmartJsonProvider'."
)


@pytest.mark.parametrize(
    ("path", "selected"),
    [
        ("$", DATA),
        ("$.a.b[0]", 10),
        ("$.a.b[-1]", 30),
        ("$['a']['c-d']", 1),
        ('$["a"]["e f"]', 2),
        ("$.a.c-d", 1),
        ("$.nothing", None),
        ("$$.State.Name", "First"),
        ("$order.items[1]", 2),
        ("$.a.b[1:]", [20, 30]),
        ("$.a.b[0,2]", [10, 30]),
        ("$.users[*].n", [1, 2]),
        ("$..n", [1, 2]),
        ("$.users[?(@.status == 0)]", [{"status": 0, "n": 1}]),
        ("$.missing[*]", []),
        ("$.missing.deeper[1:5].x", []),
        ("$.a.b.length()", 3),
        ("$.a.b.max()", 30.0),
        ("$.users[*].n.sum()", 3.0),
        ("$.users[*].n.stddev()", 0.5),
        ("$.users[?(@.n > 1 && @.status)]", [{"status": 1, "n": 2}]),
        ("$.users[?(@.n =~ /[12]/)].n", [1, 2]),
        ("$.users[?(@.n =~ /2|x/)].status", [1]),
        ("$.a[?(@.c-d == 1)].b[0]", [10]),
        ("$.users[?(@.n == $.a.c-d)].status", [0]),
        ("$..users..n..*", []),
        ("$.a['c-d', 'e f','x']", {"c-d": 1, "e f": 2}),
        ("$['it\\'s','a,b']", {}),
        ("$.users[*]['n','status']", [{"n": 1, "status": 0}, {"n": 2, "status": 1}]),
        ("$.a.b[*]['n','x']", []),
        ("$.text ", "word"),
    ],
)
def test_path_selects(path: str, selected: Json) -> None:
    """A path yields the value, and a list when it may match several."""
    assert compile_path(path).read(DATA, SCOPE) == selected


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("$.x", "Invalid path '$.x' : No results for path: $['x']"),
        ("$.a.x", "Invalid path '$.a.x' : No results for path: $['a']['x']"),
        ("$.no.such.path", "Invalid path '$.no.such.path' : Missing property in path $['no']"),
        ("$.a.b[9]", "Invalid path '$.a.b[9]' : No results for path: $['a']['b'][9]"),
        (
            "$.text[0]",
            "Invalid path '$.text[0]' : Filter: [0] can only be applied to arrays. "
            "Current context is: word",
        ),
        ("$.nothing[0]", "Invalid path '$.nothing[0]' : The path $['nothing'] is null"),
        (
            "$.text.x",
            "Invalid path '$.text.x' : Expected to find an object with property ['x'] "
            "in path $['text'] but found 'java.lang.String'" + NO_OBJECT,
        ),
        (
            "$.text['n','x']",
            "Invalid path '$.text['n','x']' : Expected to find an object with property ['n','x'] "
            "in path $['text'] but found 'java.lang.String'" + NO_OBJECT,
        ),
        (
            "$.users[0][1].n",
            "Invalid path '$.users[0][1].n' : Filter: [1]['n'] can only be applied to arrays. "
            "Current context is: {status=0, n=1}",
        ),
        ("$unknown.x", "The variable '$unknown' is not defined"),
        ("$.text.sum()", "Invalid path '$.text.sum()' : sum() cannot be applied"),
    ],
)
def test_path_to_nothing_is_explained(path: str, message: str) -> None:
    """A definite path that finds nothing says so in AWS's words."""
    with pytest.raises(PathError) as caught:
        compile_path(path).read(DATA, SCOPE)

    assert caught.value.message == message


@pytest.mark.parametrize(
    "text",
    [
        *("", "a.b", "$.", "$..", "$.a[", "$.a b", "$a-b", "$" + ".a" * 3000),
        *("$.a[b]", "$.a[~]", "$.a | $.b", "$.a[*] & $.b"),
    ],
)
def test_what_is_no_path_is_refused(text: str) -> None:
    """A text that is no path does not compile."""
    with pytest.raises(InvalidPath):
        compile_path(text)


@pytest.mark.parametrize(
    "text", ["$.a[*]", "$['a','b']", "$..a", "$.a[1:2]", "$$.a", "$x.a", "$.a.length()", "$.a[-1]"]
)
def test_what_selects_several_is_no_reference_path(text: str) -> None:
    """Nothing can be placed where a path may select several values, or where data is not ours."""
    with pytest.raises(InvalidPath):
        compile_reference_path(text)


def test_a_key_with_quotes_is_found_as_it_is_written() -> None:
    """Only the quote that ends the key is unescaped, as AWS does."""
    path = compile_path('$[\'Test\\""Name"\']')

    assert path.read({'Test\\""Name"': 1}, SCOPE) == 1


def test_placing_makes_parents_and_leaves_the_original() -> None:
    """A value is placed in a copy; missing parents come to be."""
    original: Json = {"a": {"b": [1, 2]}, "z": None}

    placed = compile_reference_path("$.a.x.y").place(original, 5)
    indexed = compile_reference_path("$.a.b[1]").place(original, 5)
    revived = compile_reference_path("$.z.q").place(original, 5)

    assert placed == {"a": {"b": [1, 2], "x": {"y": 5}}, "z": None}
    assert indexed == {"a": {"b": [1, 5]}, "z": None}
    assert revived == {"a": {"b": [1, 2]}, "z": {"q": 5}}
    assert original == {"a": {"b": [1, 2]}, "z": None}


@pytest.mark.parametrize("path", ["$.a.b[2]", "$.a.b.x", "$.text.x", "$[0]"])
def test_placing_into_what_cannot_hold_it_fails(path: str) -> None:
    """An index beyond the end, or a member of a text, cannot be placed."""
    with pytest.raises(PathError):
        compile_reference_path(path).place({"a": {"b": [1, 2]}, "text": "word"}, 5)


def test_a_path_that_explodes_is_cut_off() -> None:
    """A path may select many values, not any number of them."""
    wide: Json = {"x": [{"y": list(range(1000))} for _ in range(200)]}

    with pytest.raises(PathError, match="too many"):
        compile_path("$..*").read(wide, SCOPE)


@pytest.mark.parametrize(
    ("condition", "numbers"),
    [
        ("@.name nin ['ab']", [2, 3, 4]),
        ("!(@.name nin ['ab'])", [1]),
        ("@.tags subsetof ['x']", [1, 2]),
        ("@.tags anyof ['y', 'z']", [3]),
        ("@.tags noneof ['y', 'z'] && @.n > 1", [2]),
        ("@.tags all ['x']", [2, 3]),
        ("@.tags size 1", [2]),
        ("@.name size 2", [1, 2]),
        ("@.tags empty true", [1]),
        ("@.name empty false", [1, 2, 3]),
        ("@.size", [4]),
    ],
)
def test_filters_know_lists_and_sizes(condition: str, numbers: Json) -> None:
    """The operators of AWS's JSONPath library; what is missing is in no list and has no size."""
    rows: Json = [
        {"n": 1, "name": "ab", "tags": []},
        {"n": 2, "name": "cd", "tags": ["x"]},
        {"n": 3, "name": "efg", "tags": ["x", "y"]},
        {"n": 4, "size": 7},
    ]

    assert compile_path(f"$.rows[?({condition})].n").read({"rows": rows}, SCOPE) == numbers
    assert compile_path("$..size").read({"rows": rows}, SCOPE) == [7]


@pytest.mark.parametrize("text", ["$.a[?match(@.b, '(a+)+')]", "$.a[?search (@.b, '(a+)+')]"])
def test_functions_that_aws_does_not_know_are_refused(text: str) -> None:
    """AWS's JSONPath knows no functions within filters."""
    with pytest.raises(InvalidPath):
        compile_path(text)


@pytest.mark.parametrize(
    "text",
    ["$..*..*..*", "$.words[?(@.x =~ /(a|aa)+b/)]", "$.lists[?(@.a anyof @.b)]"],
)
def test_a_path_that_would_take_for_ever_fails(text: str) -> None:
    """Searches within searches, and patterns that backtrack, end within a second or so."""
    wide: Json = {"words": [{"x": "a" * 60}], "y": [[[[{}] * 12] * 12] * 12] * 12}
    wide["lists"] = [{"a": list(range(20_000)), "b": list(range(-20_000, 0))}]

    with pytest.raises(PathError, match=r"it takes too long|too many"):
        compile_path(text).read(wide, SCOPE)
