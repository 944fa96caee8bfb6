"""Damage anywhere in a directory is refused, mended or named, and no answer is wrong in silence."""

import os
from collections import Counter
from collections.abc import Callable

import pytest
from bitflip_test import FAILED, campaign, failed, table

QUICK, LONG = 14, 2_000


def test_a_few_damaged_files(record_property: Callable[[str, object], None]) -> None:
    """Those of the first seeds, of all kinds of files; each is opened, asked, verified and repaired."""
    records = campaign(range(QUICK), lambda record: None)
    assert [record for record in records if failed(record)] == []
    assert len({record["file"] for record in records}) >= 5
    assert sum(record["outcome"].startswith("refused") for record in records) >= 3


@pytest.mark.long
def test_thousands_of_damaged_files(record_property: Callable[[str, object], None]) -> None:
    """Counted by file and outcome; FUNNEL_CASES says how many."""
    number = int(os.environ.get("FUNNEL_CASES", LONG))
    records = campaign(range(number), lambda record: None)
    for outcome, count in Counter(record["outcome"] for record in records).items():
        record_property(outcome, count)
    print(table(records))
    assert [record for record in records if failed(record)] == []


def test_the_counting_can_fail() -> None:
    """Whatever is a defect makes a case fail."""
    sound = {"outcome": "right", "verify": "found", "repair": "mended"}
    assert not failed(sound)
    for word in FAILED:
        assert any(failed({**sound, part: word}) for part in sound)
