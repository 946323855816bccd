"""The form of a batch norm: how it estimates sigma. A frozen record; torch is not needed."""

from dataclasses import dataclass, field

from numerics.formats.integers import whole
from numerics.formats.spelling import spelled
from numerics.normalization import linf_constant, range_constant

#: The types that have a form.
BATCH_NORMS = ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d")

FORMS = ("l2", "l1", "linf", "topk", "range", "shift")


@dataclass(frozen=True)
class Norm:
    """What a batch norm divides the deviations of a channel by, beside epsilon.

    form: "l2" the root of their mean square; "l1", "linf", "topk" of the `k` largest magnitudes, and "range" in so many
    `chunks`, as `numerics.normalization` has them, kind being that of their constant; "shift" that of
    `numerics.binary.shift_batch_norm`, in which the gain is rounded to a power of two too.
    Errors: ValueError for an unknown form or kind, k or chunks below 1, and those given to another form.
    """

    form: str = "l2"
    kind: str = field(default="exact", kw_only=True)
    k: int = field(default=10, kw_only=True)
    chunks: int = field(default=1, kw_only=True)

    __repr__ = spelled

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise ValueError(f"form = {self.form!r}: give {', '.join(FORMS)}")
        for name, default, forms in (("kind", "exact", FORMS[2:5]), ("k", 10, ("topk",)), ("chunks", 1, ("range",))):
            if getattr(self, name) != default and self.form not in forms:
                raise ValueError(f"{name} = {getattr(self, name)!r} goes with {' and '.join(forms)}, not {self.form}")
        for name in ("k", "chunks"):
            count = whole(getattr(self, name))
            if count is None or count < 1:
                raise ValueError(f"{name} = {getattr(self, name)!r}: give an integer of at least 1")
        (range_constant if self.form == "range" else linf_constant)(2, self.kind)  # refuses an unknown kind
