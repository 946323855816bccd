"""Functions that factor matrices, solve with them or take their spectra: native, and told."""

import re

import pytest
import torch

import emul
from emul import Rule
from tests.emul.callers import ALL, A, swapped

SQUARE = A @ A.T + torch.eye(3)
FACTORS = {
    "solve": lambda x: torch.linalg.solve(x, x),
    "solve_ex": lambda x: torch.linalg.solve_ex(x, x)[0],
    "solve_triangular": lambda x: torch.linalg.solve_triangular(x, x, upper=True),
    "lstsq": lambda x: torch.linalg.lstsq(x, x)[0],
    "inv": torch.linalg.inv,
    "inverse": lambda x: x.inverse(),
    "lu_factor": lambda x: torch.linalg.lu_factor(x)[0],
    "lu_solve": lambda x: torch.linalg.lu_solve(x, torch.arange(1, 4, dtype=torch.int32), x),
    "cholesky": torch.linalg.cholesky,
    "cholesky_solve": lambda x: torch.cholesky_solve(x, x),
    "matrix_power": lambda x: torch.linalg.matrix_power(x, 3),
    "matrix_exp": torch.linalg.matrix_exp,
    "svd": lambda x: torch.linalg.svd(x)[1],
    "svdvals": torch.linalg.svdvals,
    "eigh": lambda x: torch.linalg.eigh(x)[0],
    "qr": lambda x: torch.linalg.qr(x)[1],
    "det": torch.det,
    "slogdet": lambda x: torch.linalg.slogdet(x)[1],
    "pinv": torch.linalg.pinv,
    "matrix_rank": torch.linalg.matrix_rank,
    "matrix_norm": lambda x: torch.linalg.norm(x, 2),
}


@pytest.mark.parametrize("function", FACTORS)
def test_what_factors_matrices_is_native_and_told(function):
    call = FACTORS[function]
    model = swapped(call)
    torch.testing.assert_close(model(SQUARE), call(SQUARE))  # a library's bits may differ with the place in memory
    (told,) = emul.swap_report(model).calls
    assert (told.module, told.function, told.rule, told.count) == ("inner", function, None, 1)
    assert re.match(
        "(its sums are those of a library: )?write .* with @.* emulated, or a rule with keep=True", told.native
    )
    with pytest.raises(ValueError, match=f"calls {function}, which is native and functional='refuse': "):
        swapped(call, functional="refuse")(SQUARE)
    rules = (Rule(".*", types=(function,), keep=True), ALL)
    torch.testing.assert_close(swapped(call, rules=rules, functional="refuse")(SQUARE), call(SQUARE))


def test_norms_are_told_where_they_take_singular_values():
    norm, matrix_norm = torch.linalg.norm, torch.linalg.matrix_norm
    plain = [
        lambda x: x.norm(),
        lambda x: torch.norm(x, 2),
        lambda x: torch.norm(x, p="fro"),
        lambda x: norm(x[0], 2),
        lambda x: norm(x),
        lambda x: norm(x, 1),
        lambda x: norm(x, ord=2, dim=1),
        lambda x: norm(x, 2, (1,)),
        lambda x: norm(x[None], dim=(0, 1)),
        matrix_norm,
        lambda x: matrix_norm(x, 1),
        torch.linalg.vector_norm,
    ]
    factoring = [
        lambda x: x.norm(p="nuc"),
        lambda x: norm(x, ord=-2),
        lambda x: norm(input=x, ord="nuc"),
        lambda x: norm(x[None], 2.0, (1, 2)),
        lambda x: matrix_norm(x, ord=2),
        lambda x: matrix_norm(x, "nuc"),
    ]
    for call in plain:
        assert swapped(call, functional="refuse")(SQUARE).numel() >= 1
    for call in factoring:
        with pytest.raises(
            ValueError, match="calls matrix_norm, which is native and functional='refuse': its sums are"
        ):
            swapped(call, functional="refuse")(SQUARE)
