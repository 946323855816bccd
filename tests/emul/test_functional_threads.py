"""Work that a forward leaves to other threads, where functions are not seen: it is told, refused or kept by its name."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Thread

import pytest
import torch

import emul
from emul import Rule
from emul.swap import CallReport
from tests.emul.callers import ALL, A, draw, product, swapped

NATIVE = A @ A.T
UNSEEN = (
    "what it computes is not seen: call its functions in the thread of the forward, which can be emulated, or a rule"
    " with keep=True"
)


def squared(x: torch.Tensor) -> torch.Tensor:
    return x @ x.mT


class Own(Thread):
    def __init__(self, found: list[torch.Tensor], x: torch.Tensor) -> None:
        super().__init__()
        self.found, self.x = found, x

    def run(self) -> None:
        self.found.append(squared(self.x))


def by_thread(x: torch.Tensor, kind=lambda found, x: Thread(target=lambda: found.append(squared(x)))) -> torch.Tensor:
    found: list[torch.Tensor] = []
    thread = kind(found, x)
    thread.start()
    thread.join()
    return found[0]


def by_new_pool(x: torch.Tensor) -> torch.Tensor:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(partial(squared, x)).result()


POOL = ThreadPoolExecutor(1)


def by_old_pool(x: torch.Tensor) -> torch.Tensor:
    return next(POOL.map(squared, [x]))


@pytest.mark.parametrize("call", [by_thread, partial(by_thread, kind=Own), by_new_pool, by_old_pool])
def test_work_for_another_thread_is_told_refused_or_kept(call):
    assert torch.equal(call(A), NATIVE)  # in no forward; the old pool has its thread from now on
    model = swapped(lambda x: call(x) + squared(x))
    assert torch.equal(model(A), NATIVE + product(A, A.T))
    told = CallReport("inner", "Thread", None, UNSEEN, 1)
    assert emul.swap_report(model).calls == (told, CallReport("inner", "matmul", 0, "", 1))
    assert "inner, 1 call of Thread: native with their gradients, what it computes is" in str(emul.swap_report(model))
    call(A)
    assert emul.swap_report(model).calls[0] == told
    refusing = swapped(call, functional="refuse")
    with pytest.raises(ValueError, match="calls Thread, which is native and functional='refuse': what it computes is"):
        refusing(A)
    kept = swapped(call, rules=(Rule(".*", types=("Thread",), keep=True), ALL), functional="refuse")
    assert torch.equal(kept(A), NATIVE)
    emul.restore_(model)
    assert torch.equal(model(A), NATIVE + NATIVE)


def test_a_module_that_is_called_in_a_thread_is_seen_there():
    model = swapped(lambda x: x)
    inner = model.inner
    model.inner = None
    inner.call = squared
    model.forward = lambda x: by_thread(x, lambda found, x: Thread(target=lambda: found.append(inner(x))))
    assert torch.equal(model(A), product(A, A.T))


def test_the_threads_of_emulated_products_are_not_told(on_threads):
    model = swapped(lambda x: x @ x.mT, functional="refuse")
    x = draw(200, 90)
    on_threads(2)
    assert torch.equal(model(x), product(x, x.T))
    layer = emul.swap_(torch.nn.Sequential(torch.nn.Linear(90, 200)), emul.Recipe((ALL,)), functional="refuse")
    layer(x)
