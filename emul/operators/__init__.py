"""The torch.library operators beneath `emul.ops`, `emul.codes` and the masks: `torch.ops.emul`.

Records cross the dispatcher as their canonical text, unsigned 64-bit numbers as int64 in two's complement. Every operator
is a pure function of its arguments, random words included, and has the same forms: a kernel over numpy for CPU tensors,
one for CUDA tensors, a refusal for every other device, a fake one that tells shape and type, a gradient, and a rule for
torch.vmap. Importing the modules here defines them.
"""
