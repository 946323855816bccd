"""Fixed-point products for the tests: the oracle's integers and counts, and every route against them."""

from fractions import Fraction

import numpy as np

from numerics import Accumulator, FixedFormat
from numerics.events import Events
from numerics.fixed_products import fixed_product, fixed_routes
from numerics.fixed_steps import steps_of
from numerics.problem import Problem, Words, facts
from numerics.reference import products
from numerics.reference.events import Tally


def problem(a, b, c=None, words=None):
    """a [M, K] or [B, M, K], b, c likewise; words [outputs, S]."""
    a, b = (x if x.ndim == 3 else x[None] for x in (np.asarray(a), np.asarray(b)))
    shape = max(a.shape[0], b.shape[0]), a.shape[1], b.shape[2]
    c = None if c is None else np.ascontiguousarray(np.broadcast_to(np.asarray(c), shape))
    known = facts(a, "a"), facts(b, "b"), None if c is None else facts(c, "c")
    return Problem(a, b, c, known, None if words is None else Words(0, 0, words.shape[1], 0, words))


def drawn_words(rng, accumulator, shape, depth):
    """Words [outputs, S] of every rounding, each below 2**r of its own, the ends among them; None where none is drawn."""
    if not accumulator.stochastic:
        return None
    words = np.zeros((int(np.prod(shape)), accumulator.roundings(depth)), np.uint32)
    for part, steps in steps_of(accumulator, depth):
        if part.random_bits is not None:
            end = 1 << part.random_bits
            among = rng.integers(0, end, words[:, steps].shape)
            kind = rng.integers(0, 5, among.shape)
            words[:, steps] = np.choose(kind, [among, among, 0 * among, 0 * among + end - 1, 0 * among + end // 2])
    return words


def oracle(given, accumulator):
    """(object integers [B, M, N], counts, the first output that overflows under Overflow.ERROR or None)."""
    out = np.zeros(given.shape, object)
    counts = {name: np.zeros(given.shape, np.int64) for name in Tally.NAMES}
    failed = None
    for number, (n, i, j) in enumerate(np.ndindex(given.shape)):
        tally = Tally()
        words = None if given.words is None else given.words.given[number]
        row, column = given.a[min(n, len(given.a) - 1), i], given.b[min(n, len(given.b) - 1), :, j]
        start = None if given.c is None else float(given.c[n, i, j])
        try:
            total = products.accumulate_number(row, column, accumulator, start, products.Steps(words, tally))
        except OverflowError:
            failed = failed or (n, i, j)
            continue
        integer = total.value * Fraction(2) ** accumulator.format.fraction_bits
        assert integer.denominator == 1
        out[n, i, j] = int(integer)
        for name in counts:
            counts[name][n, i, j] = tally.counts[name]
    return out, counts, failed


def integers(found, fmt):
    """As integers of Python; floats have to be whole."""
    held = found.astype(np.int64)
    assert (held == found).all()
    return (held if fmt.signed else held.view(np.uint64)).astype(object)


def assert_equals(given, accumulator, wanted, route, events):
    integers_wanted, counts_wanted, failed = wanted
    error, found, counts = "", None, None
    try:
        found, counts = fixed_product(given, accumulator, events=events, route=route.name)
    except OverflowError as caught:
        error = str(caught)
    if failed is not None:
        assert f"output {failed if given.shape[0] > 1 else failed[1:]}" in error, route
        return
    assert not error, route
    assert found.shape == given.shape
    assert (integers(found, accumulator.format) == integers_wanted).all(), (route, found, integers_wanted)
    if events:
        assert list(counts) == list(Events.__dataclass_fields__)
        differing = {
            name: (counts[name], counts_wanted[name]) for name in counts if (counts[name] != counts_wanted[name]).any()
        }
        assert not differing, (route, differing)
    else:
        assert counts is None


def check(accumulator, a, b, c=None, words=None, *, events=True, must=()):
    """Every route equals the oracle, with and without events; the routes' names. must: some that have to be there."""
    given = problem(a, b, c, words)
    wanted = oracle(given, accumulator)
    names = []
    for with_events in (False, True) if events else (False,):
        for route in fixed_routes(given, accumulator, events=with_events):
            assert_equals(given, accumulator, wanted, route, with_events)
            names.append(route.name)
    assert set(must) <= set(names), names
    return names


def whole(rng, shape, bits, fraction_bits=0):
    """Integers of `bits` bits with a sign, in steps of 2**-fraction_bits; ends and zeros among them."""
    end = 1 << (bits - 1)
    among = rng.integers(-end, end, shape)
    kind = rng.integers(0, 12, shape)
    return (
        np.choose(np.minimum(kind, 3), [0 * among, 0 * among - end, 0 * among + end - 1, among]) * 2.0**-fraction_bits
    )


def fixed(bits, fraction_bits=0, **options):
    """An Accumulator of a signed fixed-point format."""
    return Accumulator(FixedFormat(bits, fraction_bits), **options)
