"""MatrixUnit: the block dot product of a matrix unit, as parameters."""

from dataclasses import dataclass, field, replace
from typing import Any

from .accumulator import Accumulator
from .formats import FloatFormat, NanEncoding, Subnormals
from .formats.integers import check_texts, keep_whole
from .formats.spelling import spelled
from .rounding import Rounding
from .text import remember_text

CHOICES = {
    "ar": ("rz", "floor", "exact"),
    "group_ar": ("rz", "floor"),
    "tree": ("fused", "pairwise", "sequential"),
    "c_place": ("in_align", "late", "separate_add"),
    "groups": ("one", "even_odd", "bit1"),
    "ftz_in": ("keep", "signed", "positive"),
}
_PLAIN = (Subnormals.GRADUAL, Subnormals.FLUSH)
_MOST = {
    "L": 1 << 24,
    "exact_group": 1 << 24,
    "scale_block": 1 << 31,
}  # what loops count in their integers; of the others:
_MOST_EXPONENT = 1000  # powers of two that kernels make are normal numbers of float64
_WORD = 62  # bits of the integer that holds a block's sum, without its sign


@dataclass(frozen=True)
class MatrixUnit:
    """How a matrix unit adds blocks of L products to c.

    A product is exact: the integer product of the significands, its exponent the sum of theirs (subnormals have the
    emin of their format); zero terms are dropped. tree says how a block is summed:

    - "fused": M is the largest exponent of a term, at least Emin_floor; each term is cut to F bits below 2**M as `ar`
      says ("rz" toward zero, "floor" down; "exact": nothing is cut and F is None); the integers are summed exactly, and
      the sum is rounded once, by `rounding`, to `output`. A sum that is zero, exactly or after rounding, is +0 (MMA-Sim
      c785138; later versions give a sum that underflows its sign). What overflows becomes infinite, or the largest
      value where overflow_to_infinity is False.
    - "sequential": one fused multiply-add after another in `output`, which is binary32 or binary64, to nearest even.
    - "pairwise": the products rounded to `output`, added as a balanced tree of L (a power of two) leaves.

    c_place: "in_align": c is a term like the products (sequential: the chain starts from it). "late": the block's sum
    comes first, c is added to it; fused: the sum is cut down ("floor") to F2 bits and c to Fc bits below the larger of
    their exponents and Emin_floor, which counts here only, and c is dropped where its exponent is more than c_reach
    below. "separate_add": the block's chain starts from +0, and c is added by one rounding to nearest of its own.
    groups: the k of a block that are summed apart: "one" group, "even_odd" k, or k with bit 1 clear and set
    ("bit1": 0 1 4 5 8 .., 2 3 6 7 ..). Fused groups are a chain of smaller blocks, except with "late", where their sums
    are aligned with each other, cut to F bits as group_ar says, and added.
    K > L is a chain of blocks from left to right, the last may be short; k counts from the start of each block.

    prodnorm: the exponent of a product, with its scales, is that of its leading bit. product_limit: a product of at least
    2**product_limit is infinite. ftz_in: subnormal operands are zeros, "signed" as they were or "positive"; ftz_out:
    subnormal results are zeros of their sign, as in Subnormals.FLUSH after a rounding with the exponent unbounded below.
    tf32_trunc: operands may be any binary32 values, whose low bits the unit drops (toward zero) to those of `input`;
    otherwise operands must be members of `input` (b: of input_b, where that differs).
    scale: the format of the scales of blocks of scale_block operands, multiplied into the products. exact_group: as
    many products are summed exactly before their sum is a term; its exponent is then that of the scales alone, also
    where the products cancel; only a group of zeros is dropped (MMA-Sim c785138 aligns by its scales too, later versions
    by those of neither).
    c_format: the format of c, where it is not the output's.

    chunk=n: k is cut into pieces of n, each evaluated from c = 0; the partial sums are added to c from left to right by
    `outer`, an Accumulator. Errors: TypeError and ValueError, naming the field.
    """

    input: FloatFormat
    output: FloatFormat
    L: int
    F: int | None = None
    input_b: FloatFormat | None = field(default=None, kw_only=True)
    c_format: FloatFormat | None = field(default=None, kw_only=True)
    rounding: Rounding = field(default=Rounding.RTZ, kw_only=True)
    overflow_to_infinity: bool = field(default=True, kw_only=True)
    ar: str = field(default="rz", kw_only=True)
    prodnorm: bool = field(default=False, kw_only=True)
    Emin_floor: int | None = field(default=None, kw_only=True)
    tree: str = field(default="fused", kw_only=True)
    c_place: str = field(default="in_align", kw_only=True)
    groups: str = field(default="one", kw_only=True)
    group_ar: str = field(default="floor", kw_only=True)
    F2: int | None = field(default=None, kw_only=True)
    Fc: int | None = field(default=None, kw_only=True)
    c_reach: int | None = field(default=None, kw_only=True)
    product_limit: int | None = field(default=None, kw_only=True)
    ftz_in: str = field(default="keep", kw_only=True)
    ftz_out: bool = field(default=False, kw_only=True)
    tf32_trunc: bool = field(default=False, kw_only=True)
    scale: FloatFormat | None = field(default=None, kw_only=True)
    scale_block: int | None = field(default=None, kw_only=True)
    exact_group: int = field(default=1, kw_only=True)
    chunk: int | None = field(default=None, kw_only=True)
    outer: Accumulator | None = field(default=None, kw_only=True)
    name: str = field(default="", kw_only=True, compare=False)
    source: str = field(default="", kw_only=True, compare=False)
    confidence: str = field(default="", kw_only=True, compare=False)

    __repr__ = spelled

    def __post_init__(self) -> None:
        check_texts(self, "name", "source", "confidence")
        self._check_kinds()
        self._check_formats()
        self._check_chunk()
        self._check_scales()
        if self.tree == "fused":
            self._check_fused()
        else:
            self._check_steps()
        remember_text(self)

    def _check_kinds(self) -> None:
        for label, known in CHOICES.items():
            if getattr(self, label) not in known:
                raise ValueError(f"{label} = {getattr(self, label)!r}: give one of {', '.join(known)}")
        for label in ("overflow_to_infinity", "prodnorm", "ftz_out", "tf32_trunc"):
            if not isinstance(getattr(self, label), bool):
                raise TypeError(f"{label} = {getattr(self, label)!r}: give True or False")
        lowest = {"L": 1, "F": 0, "F2": 0, "Fc": 0, "c_reach": 0, "chunk": 1, "scale_block": 1, "exact_group": 1}
        for label in (*lowest, "Emin_floor", "product_limit"):
            value = getattr(self, label)
            if value is None and label not in ("L", "exact_group"):
                continue
            number = keep_whole(self, label)
            if number is None:
                raise TypeError(f"{label} = {value!r}: give an integer")
            if number < lowest.get(label, number):
                raise ValueError(f"{label} = {number}: give at least {lowest[label]}")
            if label != "chunk" and abs(number) > _MOST.get(label, _MOST_EXPONENT):
                shown, most = str(number)[:40], _MOST.get(label, _MOST_EXPONENT)
                raise ValueError(f"{label} = {shown}: give at most {most} in magnitude")
        multiple = {"one": 1, "even_odd": 2, "bit1": 4}[self.groups]
        if self.L % multiple:
            raise ValueError(f"L = {self.L}: with groups = {self.groups!r}, give a multiple of {multiple}")
        if self.rounding not in (Rounding.RTZ, Rounding.RNE) or not isinstance(self.rounding, Rounding):
            raise ValueError(f"rounding = {self.rounding!r}: results are rounded by Rounding.RTZ or Rounding.RNE")

    def _check_formats(self) -> None:
        for label in ("input", "output", "input_b", "c_format", "scale"):
            fmt = getattr(self, label)
            if fmt is None and label not in ("input", "output"):
                continue
            if not isinstance(fmt, FloatFormat):
                raise TypeError(
                    f"{label} = {str(fmt)[:60]!r}: give a FloatFormat; parse_format(name) gives one by name"
                )
            if fmt.subnormals not in _PLAIN and label != "scale":
                raise ValueError(f"{label} {fmt}: matrix units have gradual or flushed subnormals")
            if not fmt.signed and label != "scale":
                raise ValueError(f"{label} {fmt} is unsigned: sums of products may be negative; use a signed format")
        if self.output.mantissa_bits == 0:
            raise ValueError(
                f"output {self.output}: sums are rounded to significands of at least one mantissa bit; give a format of one"
            )
        if self.output.subnormals is not Subnormals.GRADUAL:
            raise ValueError(f"output {self.output}: say ftz_out=True of a format with gradual subnormals")
        if self.overflow_to_infinity and not self.output.infinities:
            raise ValueError(f"output {self.output} has no infinity: say overflow_to_infinity=False")
        addend, output = self.addend, self.output
        narrower = addend.mantissa_bits < output.mantissa_bits or addend.emin > output.emin
        if narrower or addend.max < output.max or output.has_nan > addend.has_nan:
            raise ValueError(f"c_format {addend} lacks values of the output {output}, which are the next block's c")

    def _check_chunk(self) -> None:
        if (self.chunk is None) != (self.outer is None):
            raise ValueError(
                f"chunk = {self.chunk}, outer = {self.outer}: the sums of chunks are added by `outer`; give both, such as"
                " outer=Accumulator(catalog.BINARY32, overflow=Overflow.IEEE), or neither"
            )
        if self.outer is None:
            return
        if not isinstance(self.outer, Accumulator):
            raise TypeError(f"outer = {str(self.outer)[:60]!r}: give an Accumulator")
        if not isinstance(self.outer.format, FloatFormat):
            raise ValueError(
                f"outer in {self.outer.format}: sums of chunks are floats; give an Accumulator in a FloatFormat"
            )
        if self.outer != type(self.outer)(self.outer.format, self.outer.rounding, self.outer.overflow):
            raise ValueError(
                "outer adds sums of chunks one by one: give an Accumulator of format, rounding and overflow"
            )

    def _check_steps(self) -> None:
        for label, value in (("output", self.output), ("c_format", self.addend)):
            if (value.exponent_bits, value.mantissa_bits, value.nan) not in _NATIVE:
                raise ValueError(
                    f"{label} {value}: a {self.tree} unit adds in binary32 or binary64; or use tree='fused'"
                )
        if self.output != self.addend:
            raise ValueError(f"c_format {self.addend}: a {self.tree} unit has the c of its output {self.output}")
        if self.rounding is not Rounding.RNE or not self.overflow_to_infinity:
            raise ValueError(
                f"a {self.tree} unit rounds by Rounding.RNE with overflow to infinity; say so, or use 'fused'"
            )
        if self.ftz_out and self.output.mantissa_bits != 23:
            raise ValueError(f"ftz_out=True: results of a {self.tree} unit are flushed in binary32 only")
        if not all(_within(fmt, self.output) for fmt in self.inputs):
            raise ValueError(f"input {self.input} has values that the steps in {self.output} do not hold")
        fused_only = ("F", "F2", "Fc", "c_reach", "Emin_floor", "product_limit", "scale")
        given = [label for label in fused_only if getattr(self, label) is not None]
        given += ["prodnorm"] * self.prodnorm + ["ar"] * (self.ar != "rz") + ["exact_group"] * (self.exact_group > 1)
        if given:
            raise ValueError(f"{given[0]} belongs to fused units: a {self.tree} unit aligns nothing")
        if self.tree == "pairwise" and (self.L & (self.L - 1) or self.groups != "one" or self.c_place != "late"):
            raise ValueError(
                "a pairwise unit has L a power of two, groups='one' and c_place='late': c is added to the tree"
            )
        if self.tree == "sequential" and self.c_place == "in_align" and self.groups != "one":
            raise ValueError(f"groups = {self.groups!r}: chains that start from c are one; say c_place='late'")
        if self.c_place == "separate_add":
            raise ValueError(f"c_place = 'separate_add': of a {self.tree} unit that is 'late'")

    def _check_fused(self) -> None:
        for fmt in self.inputs:
            if fmt.precision > 24 or fmt.emin - fmt.mantissa_bits < -149 or fmt.emax > 127:
                raise ValueError(f"input {fmt}: operands of a fused unit are values of binary32; use tree='sequential'")
        for label, fmt in (("output", self.output), ("c_format", self.addend)):
            if fmt.precision > 24 or fmt.emin < -126 or fmt.emax > 127:
                raise ValueError(f"{label} {fmt}: results of a fused unit are values of binary32")
        late = self.c_place == "late"
        if self.ar == "exact":
            unused = [
                x for x in ("F", "F2", "Fc", "c_reach", "Emin_floor", "product_limit") if getattr(self, x) is not None
            ]
            if unused or self.prodnorm or self.groups != "one" or self.c_place != "in_align" or self.scale is not None:
                raise ValueError(
                    "ar = 'exact' cuts nothing: no other field of the alignment, groups or scales go with it"
                )
            return
        if self.F is None:
            raise ValueError("F = None: a fused unit cuts its terms to F bits; give F, or ar='exact'")
        if late != (self.F2 is not None and self.Fc is not None) or (not late and (self.F2, self.Fc) != (None, None)):
            raise ValueError(f"F2 = {self.F2}, Fc = {self.Fc}: give both with c_place='late', neither otherwise")
        if late and not self.F <= (self.F2 or 0) >= (self.Fc or 0):
            raise ValueError(f"F2 = {self.F2}: give at least F = {self.F} and Fc = {self.Fc}")
        if self.c_reach is not None and not late:
            raise ValueError(f"c_reach = {self.c_reach}: it says which c are dropped with c_place='late'")
        if self.sum_bits > _WORD:
            raise ValueError(
                f"L = {self.L}, F = {self.F}: sums of up to {self.sum_bits} bits; blocks are summed in {_WORD}: take fewer"
            )

    def _check_scales(self) -> None:
        if (self.scale is None) != (self.scale_block is None):
            raise ValueError(f"scale = {self.scale}, scale_block = {self.scale_block}: give both or neither")
        if self.exact_group > 1:
            span = sum(fmt.emax - fmt.emin + fmt.precision for fmt in self.inputs)
            if span > 24:
                raise ValueError(
                    f"exact_group = {self.exact_group}: sums of products of {self.input} need {span} bits; 24 do"
                )
            if self.L % self.exact_group or self.groups != "one" or self.prodnorm:
                raise ValueError(
                    f"exact_group = {self.exact_group}: it divides L, with groups='one' and prodnorm=False"
                )
        if self.scale is None or self.scale_block is None:
            return
        if self.product_limit is not None:
            raise ValueError(f"product_limit = {self.product_limit}: a unit with scales has none")
        if self.scale.precision > 8:
            raise ValueError(f"scale {self.scale}: scales have up to 8 significant bits")
        if self.groups != "one":
            raise ValueError(f"groups = {self.groups!r}: a unit with scales has groups='one'")
        if self.chunk is not None and self.chunk % self.scale_block:
            raise ValueError(f"chunk = {self.chunk}: give a multiple of scale_block = {self.scale_block}")
        if self.L % self.scale_block and self.scale_block % self.L:
            raise ValueError(f"scale_block = {self.scale_block}: it divides L = {self.L}, or L divides it")
        if self.scale_block % self.exact_group:
            raise ValueError(f"scale_block = {self.scale_block}: exact_group = {self.exact_group} divides it")

    @property
    def inputs(self) -> tuple[FloatFormat, FloatFormat]:
        """The formats of a and b."""
        return self.input, self.input_b or self.input

    @property
    def addend(self) -> FloatFormat:
        """The format of c."""
        return self.c_format or self.output

    @property
    def result(self) -> FloatFormat:
        """The format of results: of `outer` where chunks are combined, else the output."""
        fmt = self.output if self.outer is None else self.outer.format
        assert isinstance(fmt, FloatFormat)
        return fmt

    @property
    def sum_bits(self) -> int:
        """Bits of the integers in which a block is summed, and of the products before they are cut."""
        significand = sum(fmt.precision for fmt in self.inputs)
        term = 2 + (self.F2 or self.F or 0)
        if self.exact_group > 1:
            term += sum(fmt.emax for fmt in self.inputs) + self.exact_group.bit_length()
            significand += 12 + self.exact_group.bit_length()
        if self.scale is not None:
            term += 2
            significand += 2 * self.scale.precision
        return max(term + self.L.bit_length(), significand)

    @property
    def without_chunk(self) -> "MatrixUnit":
        """The unit that evaluates one chunk."""
        return replace(self, chunk=None, outer=None)

    def __str__(self) -> str:
        return self.name or f"matrix unit {self.input} -> {self.output}, L = {self.L}, F = {self.F}"


_NATIVE = ((8, 23, NanEncoding.IEEE), (11, 52, NanEncoding.IEEE))


def _within(fmt: Any, output: Any) -> bool:
    """Whether the output's own arithmetic holds every value of fmt."""
    bottom = fmt.emin - fmt.mantissa_bits >= output.emin - output.mantissa_bits
    return bool(fmt.precision <= output.precision and bottom and fmt.emax <= output.emax)
