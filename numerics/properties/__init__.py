"""Anyone's quantizer, accumulator or mask put to the proof.

`as_quantizer`, `as_accumulator`, `as_mask` say what a function claims to be; `verify` puts all claims to the proof;
`quantizer_suite` and its like make a pytest class of them; `checks` has each check as a plain function, `strategies` the
hypothesis strategies. Hypothesis is loaded with the suites and strategies alone.
"""

from typing import TYPE_CHECKING

from . import checks
from .accumulators import AccumulatorUnderTest, as_accumulator
from .claims import Claim, claims_of
from .evidence import ClaimError, Evidence
from .masks import MaskUnderTest, as_mask
from .points import points
from .quantizers import QuantizerUnderTest, as_quantizer
from .verify import Report, Verdict, verify

if TYPE_CHECKING:
    from . import profiles, strategies
    from .suite import accumulator_suite, mask_suite, quantizer_suite

__all__ = [
    "AccumulatorUnderTest",
    "Claim",
    "ClaimError",
    "Evidence",
    "MaskUnderTest",
    "QuantizerUnderTest",
    "Report",
    "Verdict",
    "accumulator_suite",
    "as_accumulator",
    "as_mask",
    "as_quantizer",
    "checks",
    "claims_of",
    "mask_suite",
    "points",
    "profiles",
    "quantizer_suite",
    "strategies",
    "verify",
]


def __getattr__(name: str) -> object:
    if name not in ("quantizer_suite", "accumulator_suite", "mask_suite"):
        raise AttributeError(f"module 'numerics.properties' has no attribute {name!r}; public are {', '.join(__all__)}")
    try:
        from .suite import accumulator_suite, mask_suite, quantizer_suite
    except ModuleNotFoundError as error:
        if error.name != "hypothesis":
            raise
        raise ImportError(f"numerics.properties.{name} needs hypothesis: pip install hypothesis") from None
    suites = {"quantizer_suite": quantizer_suite, "accumulator_suite": accumulator_suite, "mask_suite": mask_suite}
    globals().update(suites)
    return suites[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
