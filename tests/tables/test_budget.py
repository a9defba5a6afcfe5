"""What is no budget is refused in one sentence, where it is made."""

from __future__ import annotations

import pytest

from nasedu.errors import ParameterError
from nasedu.tables import Budget


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda t: Budget([(t, 1e6)]),
            r"a term of a budget is \(table, target, loss\), got \(LookupTable, 1000000.0\)",
        ),
        (lambda t: Budget((t, 1e6, "hinge")), "a term of a budget is .* got LookupTable"),
        (lambda t: Budget([("macs", 1e6, "hinge")]), r"got \('macs', 1000000.0, 'hinge'\)"),
        (lambda t: Budget(None), r"terms of a budget must be \(table, target, loss\) each, got None"),
        (lambda t: Budget([]), "at least one"),
        (lambda t: Budget([(t, "1e6", "hinge")]), "a target must be a number"),
        (lambda t: Budget([(t, 1e6, "hinge")], "zen"), "the objective must be a LookupTable, got 'zen'"),
    ],
)
def test_wrong_terms_are_refused_in_one_sentence(toy, priced, make, words):
    with pytest.raises(ParameterError, match=words) as caught:
        make(priced(toy([3, 3])))
    assert len(str(caught.value)) < 300
