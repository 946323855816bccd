import subprocess
import sys
from pathlib import Path

import pytest

import emul


def test_every_public_name_resolves_and_is_listed():
    for name in emul.__all__:
        assert getattr(emul, name) is not None
        assert name in dir(emul)


def test_an_unknown_name_is_an_attribute_error_that_lists_the_known():
    with pytest.raises(AttributeError, match=r"'emul' has no attribute 'swap_all'; public are .*swap_"):
        emul.swap_all  # noqa: B018


@pytest.mark.parametrize("statement", ["import emul", "import emul; emul.recipes.fp8(); emul.Rule, emul.Recipe"])
def test_torch_is_not_imported_before_it_is_used(statement):
    code = f"{statement}; import sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=True)
