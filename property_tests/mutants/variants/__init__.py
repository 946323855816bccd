"""Wrong variants of published functions, one file a subject."""

from . import clips, norms, signs, tensors

LAWS = (*signs.LAWS, *clips.LAWS, *norms.LAWS, *tensors.LAWS)
VARIANTS = (*signs.VARIANTS, *clips.VARIANTS, *norms.VARIANTS, *tensors.VARIANTS)
