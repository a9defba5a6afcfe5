import pytest
import torch

from nasedu import spaces
from nasedu.search import DescentConfig, descend
from nasedu.tables import LookupTable
from nasedu.wzdnas import cost_tables, four_terms


@pytest.fixture(scope="session")
def space():
    return spaces.create("yolo", image_size=64)


@pytest.fixture(scope="session")
def tables(space):
    """The tables of a search, with a zero-cost map that likes MACs."""
    counted = cost_tables(space)
    score = [(entry / entry.max()).log().double() for entry in counted["flops"].entries]
    return {"zero_cost": LookupTable(space, "naswot", "log |det K| per image", 0.0, score), **counted}


@pytest.fixture(scope="session")
def descent(tables):
    torch.manual_seed(0)
    target = sum(tables["flops"].bounds()) / 2
    return descend(four_terms(tables, target), DescentConfig(steps=400, every=20))
