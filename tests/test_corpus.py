"""The replay of recorded cases: what it does where there are none, and what it forgives."""

import sys
from pathlib import Path

import pytest

from tests.corpus import __main__ as corpus
from tests.corpus.cases import Case, Verdict


def test_without_recorded_cases_it_says_so_and_succeeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who has no recordings is told that nothing was replayed, and is not held up."""
    monkeypatch.setattr(sys, "argv", ["corpus", str(tmp_path)])

    assert corpus.main() == 0

    expected = f"corpus: skipped, there are no recorded cases in {tmp_path} (CORPUS=...)\n"
    assert capsys.readouterr().out == expected


@pytest.mark.parametrize(("excuse", "status"), [({}, 1), ({"a case": "A rule."}, 0)])
def test_only_a_difference_without_excuse_fails(excuse: dict[str, str], status: int) -> None:
    """A difference with a written reason is forgiven, any other is not."""
    case = Case("a case", "area", {})

    assert corpus.print_faults([Verdict(case, ("$.output",))], excuse) == status
