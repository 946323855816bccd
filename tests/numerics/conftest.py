"""The tests here are of the general way through `numerics`, whatever the size; test_brief, and test_brief_chains, hold the
short one against it.
"""

import pytest

from numerics import brief, brief_chains, brief_products, brief_units


@pytest.fixture(autouse=True, scope="module")
def the_general_way(request):
    if request.module.__name__.rpartition(".")[2].startswith("test_brief"):
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(brief, "ELEMENTS", -1)
        patch.setattr(brief_chains, "MULTIPLICATIONS", -1)
        patch.setattr(brief_products, "MULTIPLICATIONS", -1)
        patch.setattr(brief_units, "MULTIPLICATIONS", -1)
        yield
