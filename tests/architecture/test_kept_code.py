"""What numba keeps on disk it finds by a function's name and line: no two that are kept may have both in common."""

import ast
from collections import Counter
from pathlib import Path

import pytest

KERNELS = Path(__file__).resolve().parents[2] / "kernels"
KEEPING = {"device", "loop"}  # which compile entry points; in the simulator, what `device` is given is one


def alike(source: str) -> list[int]:
    """Lines with more than one function without a name that is kept."""
    found: Counter[int] = Counter()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KEEPING:
            found.update(part.lineno for given in node.args for part in ast.walk(given) if isinstance(part, ast.Lambda))
    return sorted(line for line, count in found.items() if count > 1)


@pytest.mark.parametrize("path", sorted(KERNELS.rglob("*.py")), ids=lambda path: str(path.relative_to(KERNELS)))
def test_functions_that_are_kept_have_lines_of_their_own(path):
    assert alike(path.read_text()) == []


def test_two_on_a_line_are_seen():
    assert alike("x, y = device(lambda a: a), device(lambda a: -a)\nz = device(lambda a: a)") == [1]
    assert alike("x = device((lambda a: a) if c else (lambda a: -a))") == [1]
    assert alike("x = device(lambda a: a) if c else moves(lambda a: a)") == []  # which numba's cache never sees
