"""Random words: published vectors, an independent generator, the frozen map from elements to words."""

import numba
import numpy as np
import pytest

from numerics import Quantizer, Rounding, catalog, random_words
from numerics.kernels.elementwise import DRAWN_TILE
from numerics.kernels.philox import philox, random_blocks
from numerics.kernels.philox_lanes import LANES

LOW = 0xFFFFFFFF
# (counter, key, block) of Philox4x32-10: kat_vectors of Random123 (Salmon, Moraes, Dror and Shaw, SC11).
PUBLISHED = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]
# random_words(6, bits, seed=1, stream=2, offset=3), written down once: these words may never change.
FROZEN = {
    8: [231, 211, 197, 237, 140, 54],
    16: [36077, 5942, 16135, 64989, 2570, 49523],
    32: [168492509, 3082076531, 3674517586, 1146363793, 235617523, 2481929813],
}


def plain_philox(counter, key):
    """Philox4x32-10 from the paper's definition, in Python integers."""
    (c0, c1, c2, c3), (k0, k1) = counter, key
    for _ in range(10):
        high0, low0 = divmod(0xD2511F53 * c0, 1 << 32)
        high1, low1 = divmod(0xCD9E8D57 * c2, 1 << 32)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + 0x9E3779B9) & LOW, (k1 + 0xBB67AE85) & LOW
    return c0, c1, c2, c3


def plain_word(element, random_bits, seed, stream):
    """The word of an element by the frozen map, in Python integers."""
    size = 1 if random_bits <= 8 else 2 if random_bits <= 16 else 4
    block, unit = divmod(element % (1 << 64), 16 // size)
    words = plain_philox((block & LOW, block >> 32, stream & LOW, stream >> 32), (seed & LOW, seed >> 32))
    stored = b"".join(word.to_bytes(4, "little") for word in words)
    return int.from_bytes(stored[unit * size : (unit + 1) * size], "little") >> (8 * size - random_bits)


@numba.njit
def compiled_philox(words):
    return philox(words[0], words[1], words[2], words[3], words[4], words[5])


@pytest.mark.parametrize(("counter", "key", "block"), PUBLISHED, ids=["zero", "ones", "pi"])
def test_published_vectors(counter, key, block):
    numbers = [int(word, 16) for word in f"{counter} {key}".split()]
    wanted = [int(word, 16) for word in block.split()]
    assert list(plain_philox(numbers[:4], numbers[4:])) == wanted
    # A word is the low half of its lane.
    assert [int(word) & LOW for word in compiled_philox(np.array(numbers, np.uint64))] == wanted


def test_published_vectors_are_words_of_a_stream():
    # Counter (243f6a88, 85a308d3) is the block, (13198a2e, 03707344) the stream; low halves first.
    seed, stream, block = 0x299F31D0A4093822, 0x0370734413198A2E, 0x85A308D3243F6A88
    words = np.empty(4, np.uint32)
    random_blocks(words, np.uint64(block), 1, np.uint64(seed), np.uint64(stream))
    assert [f"{word:08x}" for word in words.tolist()] == PUBLISHED[2][2].split()
    assert [f"{w:08x}" for w in random_words(4, seed=0).tolist()] == PUBLISHED[0][2].split()


@pytest.mark.parametrize("random_bits", [1, 7, 8, 9, 13, 16, 17, 24, 31, 32])
@pytest.mark.parametrize("offset", [0, 1, 3, 5, 15, 17, (1 << 32) - 2, (1 << 34) - 1, (1 << 63) + 7])
def test_the_word_map_is_the_frozen_one(random_bits, offset):
    seed, stream = 0x0123456789ABCDEF, 0xFEDCBA9876543210
    found = random_words(37, random_bits, seed=seed, stream=stream, offset=offset)
    assert found.dtype == np.uint32
    assert found.tolist() == [plain_word(offset + i, random_bits, seed, stream) for i in range(37)]


@pytest.mark.parametrize("blocks", [LANES, 2 * LANES + 3])
@pytest.mark.parametrize("first", [0, 5, (1 << 32) - LANES, (1 << 32) - LANES - 2, (1 << 62) - LANES, (1 << 62) - 7])
def test_blocks_side_by_side_are_blocks_one_by_one(first, blocks):
    seed, stream = 0xFEDCBA9876543210, 0x0123456789ABCDEF
    words = np.full(4 * blocks, 7, np.uint32)
    random_blocks(words, np.uint64(first), 4, np.uint64(seed), np.uint64(stream))
    assert words.tolist() == [plain_word(4 * first + i, 32, seed, stream) for i in range(words.size)]


def test_a_frozen_sample():
    for random_bits, words in FROZEN.items():
        assert random_words(6, random_bits, seed=1, stream=2, offset=3).tolist() == words
        assert [plain_word(3 + i, random_bits, 1, 2) for i in range(6)] == words


@pytest.mark.parametrize("random_bits", [8, 16, 32])
def test_elements_wrap_after_2_to_the_64(random_bits):
    offset = (1 << 64) - 5
    found = random_words(12, random_bits, seed=9, offset=offset)
    assert found.tolist() == [plain_word(offset + i, random_bits, 9, 0) for i in range(12)]
    assert found[5:].tolist() == random_words(7, random_bits, seed=9).tolist()


@pytest.mark.parametrize("random_bits", [1, 8, 11, 16, 19, 32])
@pytest.mark.parametrize("offset", [0, 7, (1 << 64) - DRAWN_TILE - 3])
def test_a_quantizer_draws_these_words(random_bits, offset):
    quantizer = Quantizer(catalog.E4M3, Rounding.SR, random_bits=random_bits)
    x = np.random.default_rng(random_bits).standard_normal(3 * DRAWN_TILE + 11).astype(np.float32)
    drawn = quantizer.quantize(x, seed=5, stream=6, offset=offset)
    words = random_words(x.size, random_bits, seed=5, stream=6, offset=offset)
    assert (drawn == quantizer.quantize(x, words=words)).all()


@pytest.mark.parametrize("random_bits", [8, 16, 32])
def test_words_do_not_depend_on_threads_or_on_how_an_array_is_cut(random_bits, on_threads):
    quantizer = Quantizer(catalog.E5M2, Rounding.SR, random_bits=random_bits)
    x = np.random.default_rng(0).standard_normal(5 * (1 << 16) + 13).astype(np.float32)
    offset = (1 << 64) - 70_001  # the wrap lies inside, at no boundary of blocks, tiles or threads' pieces
    results = []
    for count in (1, 2, 5):
        on_threads(count)
        results.append(quantizer.quantize(x, seed=3, offset=offset))
    assert (results[0] == results[1]).all()
    assert (results[0] == results[2]).all()
    for cut in (1, 4096, 70_001, 70_002, 200_003):
        head = quantizer.quantize(x[:cut], seed=3, offset=offset)
        tail = quantizer.quantize(x[cut:], seed=3, offset=(offset + cut) % (1 << 64))
        assert (np.concatenate([head, tail]) == results[0]).all()


def test_seed_stream_and_element_each_change_the_words():
    base = random_words(64, 32, seed=0, stream=0, offset=0)
    for other in ({"seed": 1}, {"seed": 1 << 32}, {"stream": 1}, {"stream": 1 << 32}, {"offset": 64}):
        words = random_words(64, 32, **{"seed": 0, **other})
        assert not np.isin(words, base).any()


def test_all_bits_of_the_words_are_used():
    for random_bits in (1, 8, 12, 16, 30, 32):
        words = random_words(1000, random_bits, seed=4)
        assert np.bitwise_or.reduce(words) == (1 << random_bits) - 1
        assert int(words.max()) < 1 << random_bits


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"random_bits": 0, "seed": 0}, ValueError, "random_bits = 0"),
        ({"random_bits": 33, "seed": 0}, ValueError, "random_bits = 33"),
        ({"seed": -1}, ValueError, "seed = -1"),
        ({"seed": 1 << 64}, ValueError, "seed = 18446744073709551616"),
        ({"seed": 0, "stream": 1.5}, TypeError, "stream = 1.5"),
        ({"seed": 0, "offset": -3}, ValueError, "offset = -3"),
    ],
)
def test_refusals(arguments, error, sentence):
    with pytest.raises(error, match=sentence):
        random_words(4, **arguments)


def test_half_a_word_is_refused():
    with pytest.raises(ValueError, match=r"count = 2\.5: give how many words"):
        random_words(2.5, seed=0)
    with pytest.raises(ValueError, match=r"random_bits = 2\.5: give an integer from 1 to 32"):
        random_words(2, 2.5, seed=0)
