"""The page "The paper and its code": all twenty differences, and every field it names works."""

import ast
import re

import pytest
from regenerate import ROOT

from datadam_lite import PROTOCOLS, recipe

PAGE = (ROOT / "book" / "paper-and-code.md").read_text()
FIELDS = re.findall(r"`(\w+)=([^`]+)`", PAGE)
ROWS = {int(row[0]): row[1:] for row in re.findall(r"^\| (\d+) \|(.*)\|(.*)\|(.*)\|$", PAGE, re.MULTILINE)}


def test_the_page_has_the_twenty_differences():
    assert sorted(ROWS) == list(range(1, 21))
    assert all(cell.strip() for row in ROWS.values() for cell in row)


@pytest.mark.parametrize(("field", "value"), FIELDS)
def test_every_field_and_value_is_one_of_a_recipe(field, value):
    assert getattr(recipe("datadam", **{field: ast.literal_eval(value)}), field) == ast.literal_eval(value)


def test_either_side_is_what_the_two_recipes_have():
    """Where the page gives paper and code in this order, `datadam` has the first and `datadam_code` the second."""
    paper, code = recipe("datadam"), recipe("datadam_code")
    for number in (1, 2, 3, 4):
        for made, side in zip((paper, code), ROWS[number][2].split(" or "), strict=True):
            fields = re.findall(r"`(\w+)=([^`]+)`", side)
            assert fields
            assert all(getattr(made, field) == ast.literal_eval(value) for field, value in fields)
    assert (paper.zca, code.zca) == (None, False)
    assert (paper.statistics, code.statistics) == ("exact", "field")
    assert (paper.lam, code.lam, paper.depth, code.depth) == (None, 0.01, None, 3)
    assert paper.real_batch == code.real_batch == 64


def test_every_protocol_it_names_is_known():
    named = set(re.findall(r"--protocol (\w+)", PAGE))
    assert named == set(PROTOCOLS)
    assert PROTOCOLS["datadam_code"].epochs == 1801
    assert PROTOCOLS["datadam_code"].batch == 64
    assert PROTOCOLS["fixed"].epochs == 1000
    assert PROTOCOLS["datadam_table"].drops()[:2] == [15, 30]
