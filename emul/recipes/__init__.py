"""The published training schemes, and the matrix units of hardware, by name; torch is not needed.

`get(name)` gives a Recipe, `schedule(name)` the phases of its training; each is also a function here, with options. The
docstring of each says what it does to the three products, what of it was verified in its paper, and what is a parameter.
"""

from .accumulators import lba, lba8, lba12, lba_fine_grained, lba_schedule
from .blocks import mxfp4, mxfp8, nvfp4_schedule, nvfp4_split
from .float8 import fp8, fp8_delayed
from .integers import aciq_ptq, int8_training
from .logarithmic import luq, luq_fnt, luq_fnt_schedule, luq_smp
from .registry import Entry, entries, entry, get, names, nearest, options_for, schedule
from .signs import bnn, bnn_schedule, qnn, qnn_schedule
from .sparse import mvue_1_2, mvue_2_4, transposable_2_4
from .units import hardware, presets

__all__ = [
    "Entry",
    "aciq_ptq",
    "bnn",
    "bnn_schedule",
    "entries",
    "entry",
    "fp8",
    "fp8_delayed",
    "get",
    "hardware",
    "int8_training",
    "lba",
    "lba8",
    "lba12",
    "lba_fine_grained",
    "lba_schedule",
    "luq",
    "luq_fnt",
    "luq_fnt_schedule",
    "luq_smp",
    "mvue_1_2",
    "mvue_2_4",
    "mxfp4",
    "mxfp8",
    "names",
    "nearest",
    "nvfp4_schedule",
    "nvfp4_split",
    "options_for",
    "presets",
    "qnn",
    "qnn_schedule",
    "schedule",
    "transposable_2_4",
]
