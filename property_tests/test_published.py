"""Laws of what papers published: ours keep them, and each wrong variant that a paper or a code has is found."""

import pytest

from property_tests.mutants.published import Law, Variant
from property_tests.mutants.variants import LAWS, VARIANTS


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)
def test_ours_keep_the_law(law: Law):
    law.holds(law.right)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_a_wrong_variant_is_found(variant: Variant):
    with pytest.raises(AssertionError):
        variant.law.holds(variant.fn)


def test_each_law_has_a_variant_and_each_variant_a_source():
    assert {variant.law.name for variant in VARIANTS} == {law.name for law in LAWS}
    assert len({variant.name for variant in VARIANTS}) == len(VARIANTS)
    assert sum(not variant.where.startswith("of a kind") for variant in VARIANTS) >= 17
