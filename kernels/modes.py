"""Integer constants that kernels and vocabulary share. No numba: importing them costs nothing."""

RNE, RNA, RTZ, RTP, RTN, RTO, SR, SR_B, SR_C, RNL = range(10)
NO_ROUNDING = -1  # in place of a mode: the step is left out of the compiled kernel
NATIVE = -2  # in place of a mode: the carrier's own instruction rounds (the format is the carrier, to nearest even)
NATIVE_IEEE = -3  # and overflows as the format does: nothing is left to do
TURNS = 10  # in place of a mode: what the mode says is in the row, as turning points

# Added to a rounding mode: a faster form of the same rounding, exact under conditions that the caller has checked
# (numerics/planning.py, numerics/parameters.py).
UNIFORM, MAGIC = 16, 32
PLAIN = 64  # likewise: a format and rules that need only the short end of the rounding
CLAMPED = 32768  # with PLAIN: overflow and infinities become the largest value, at which is cut before rounding
MODE_MASK = 15
SHORT_CODE = 128  # likewise: a format whose codes can be had by the short way
SHIFTED = 512  # likewise, of stochastic rounding
LIFTED = 4096  # likewise, where a normal value drops as many bits as a random word has, or more
HASTY = 8192  # with SHIFTED: LIFTED comes first, and is right where it meets no close call
DIRECT_CODE = 256  # likewise: rounded and encoded at once
BYTE_CODE = 16384  # with DIRECT_CODE: from float32 to codes of at most a byte, of which no other bits are computed
SIGNED = 1024  # likewise, of a finite sum to nearest even or toward zero, its sign where it is
ONCE = 2048  # likewise: the carrier's own rounding of the sum comes first and does no harm

# Slots of the parameter row of a float format in a carrier (float32 or float64); see numerics/parameters.py.
(
    DROP,  # trailing bits of the carrier that a normal value of the format does not have
    EMIN,  # biased exponent below which the grid stops getting finer (plus OFFSET); 0: it never stops
    PARITY,  # 1 where the exponent field takes part in the parity of a code (no mantissa bits), else 0
    PARITY_EMIN,  # biased exponent (plus OFFSET) that counts as an even step of that field
    QUANTUM,  # bits of the smallest subnormal
    SMALLEST,  # bits of the smallest magnitude; anything smaller after rounding becomes BELOW; 0: no such rule
    LARGEST,  # bits of the largest finite magnitude
    OVER_POSITIVE,  # bits of what a positive finite overflow becomes
    OVER_NEGATIVE,  # bits of the magnitude of what a negative finite overflow becomes
    INFINITE,  # bits of the magnitude of what an infinity becomes
    SIGNED_ZERO,  # the sign bit where the format has a negative zero, else 0
    RANDOM_MASK,  # the top r of 32 bits
    RANDOM_SHIFT,  # 32 - r
    CODE_EMIN,  # biased exponent (plus OFFSET) of the lowest normal binade
    CODE_MANTISSA,  # mantissa bits
    CODE_OFFSET,  # subtracted from the code of a nonzero magnitude (normal binade), else 0
    CODE_SIGN,  # the sign bit of the code, 0 in unsigned formats
    CODE_INFINITY,  # code of +infinity
    CODE_NAN,  # canonical code of NaN
    UNCODED,  # bits of a magnitude in the value set that has no code, else 0
    BELOW,  # bits of what magnitudes under SMALLEST become: zero, or SMALLEST itself in a format without zero
    CODE_BASE,  # the short way to a code: what a magnitude shifted by DROP has too much
    CODE_NORMAL,  # bits of the magnitude from which on that is so
    CODE_SHIFTER,  # bits of a power of two whose ulp is the quantum: added to a smaller magnitude it shows its code
    OVER_CODE,  # code of what a positive overflow becomes
) = range(25)
ROW_LENGTH = 25
OFFSET = 64  # added to biased exponents so that normalised carrier subnormals stay positive

# What an elementwise pass met; the caller's policy decides what is an error.
SAW_OVERFLOW, SAW_NAN, SAW_NEGATIVE, SAW_UNCODED = 1, 2, 4, 8
