"""One call of each published function on tensors; test_published.py makes it, and the same of the numpy function."""

from fractions import Fraction

import torch

import emul
from numerics import Accumulator, Quantizer, Rounding, catalog

X = torch.tensor([[0.3, -1.7, 0.0, 2.5, -0.01, 0.9], [-0.6, 0.05, 4.0, -0.0, 1.0, -3.3]])
W = torch.tensor(
    [[0.2, -1.0, 0.5], [1.5, 0.4, -0.7], [0.1, 0.3, 0.9], [-2.0, 0.8, 0.6], [1.1, -0.3, 0.2], [0.7, 0.1, -0.4]]
)
SIGNS = torch.where(X < 0, -1.0, 1.0)
BYTES = torch.arange(12, dtype=torch.uint8).reshape(2, 6) * 21
STATE = emul.binary.AdaMaxState(X / 4, X.abs() + 1, 3)
SR = Quantizer(catalog.E4M3, Rounding.SR)
HALF = Accumulator(catalog.BINARY16)

EXAMPLES = {
    "luq.ablation": ((X,), {"underflow": "nearest", "seed": 1}),
    "luq.alpha": ((X,), {}),
    "luq.biased_log_rounding": ((X,), {"alpha": 0.0625, "seed": 1}),
    "luq.biased_noise_then_round": ((X,), {"alpha": 0.0625, "seed": 1}),
    "luq.decode": ((BYTES % 16, 0.0625), {"dtype": torch.float32}),
    "luq.encode": ((X,), {"seed": 1}),
    "luq.hindsight_max": ((X.abs().max(), 3.0, 0.25), {}),
    "luq.log_rounding_bias": ((X, 0.0625), {}),
    "luq.moments": ((X[0, 0], 0.0625), {"random_bits": 8}),
    "luq.multiply_int4_fp4": ((torch.tensor([-7, 0, 3]), torch.tensor([2.0, -4.0, 64.0])), {}),
    "luq.noise_then_round_bias": ((X, 0.0625), {}),
    "luq.quantize": ((X,), {"seed": 1}),
    "luq.rdnp": ((X,), {}),
    "luq.smp": ((X, 3), {"seed": 1}),
    "luq.variance": ((X, 0.0625), {}),
    "sparsity.inclusion_probabilities": ((X,), {}),
    "sparsity.mvue": ((X,), {"seed": 1}),
    "sparsity.top_n": ((X, 1, 2), {}),
    "sparsity.transposable_mask": ((W,), {}),
    "sparsity.transposable_mask_count": ((2, 4), {}),
    "sparsity.variance": ((X,), {"axis": 0}),
    "clipping.aciq_alpha": ((4,), {}),
    "clipping.aciq_mse": ((torch.tensor(5.0), 4), {}),
    "clipping.affine": ((X, 4), {"rounding": Rounding.SR, "seed": 1}),
    "clipping.bias_correction": ((W, W.round()), {"axis": 1}),
    "clipping.bin_allocation": ((X[0].abs(), 48.0), {}),
    "clipping.bit_allocation": ((X[0].abs(), 4), {}),
    "clipping.choose_distribution": ((X,), {}),
    "clipping.clip_range": ((X, 4), {"axis": 1}),
    "clipping.dequantize": ((BYTES, 0.5, 7), {"dtype": torch.float64}),
    "clipping.lambert_w0": ((torch.tensor(768.0),), {}),
    "clipping.optimal_alpha": ((3,), {}),
    "clipping.quantizer_mse": ((torch.tensor(5.0), 4), {}),
    "clipping.sawb": ((X, 4), {}),
    "clipping.scale": ((X,), {"axis": 0}),
    "binary.ap2": ((X,), {}),
    "binary.byte_matmul": ((BYTES, SIGNS.T), {}),
    "binary.clip_weights": ((X,), {}),
    "binary.glorot_scale": ((6, 3), {}),
    "binary.hard_sigmoid": ((X,), {}),
    "binary.inverse_root": ((X.abs(),), {}),
    "binary.linear_quant": ((X, 3), {}),
    "binary.log_quant": ((X, 0.25, 2.0), {}),
    "binary.matmul_bits": ((SIGNS > 0, (SIGNS > 0).T), {}),
    "binary.pack": ((SIGNS,), {}),
    "binary.pack_bits": ((SIGNS > 0,), {}),
    "binary.shift_adamax": ((X, X / 8, STATE), {}),
    "binary.shift_batch_norm": ((X, torch.ones(6), X[1]), {}),
    "binary.shift_variance": ((X,), {}),
    "binary.sign": ((X,), {}),
    "binary.ste_mask": ((X,), {}),
    "binary.stochastic_sign": ((X,), {"seed": 1}),
    "binary.unpack": ((emul.binary.pack(SIGNS), torch.float64), {}),
    "binary.xnor_matmul": ((SIGNS, SIGNS.T), {}),
    "normalization.bifurcated_gradients": ((X, W, W[:2]), {"quantizer": SR, "seed": 1}),
    "normalization.bounded_gains": ((X[1], 2.0), {}),
    "normalization.bounded_weight_norm": ((W, W[:, 0]), {}),
    "normalization.corrected_learning_rate": ((0.1, torch.tensor(3.0), 2.0), {}),
    "normalization.cosine_bound": ((4, 100), {}),
    "normalization.effective_step": ((0.1, torch.tensor(3.0)), {}),
    "normalization.expected_max_magnitude": ((8,), {}),
    "normalization.expected_range": ((8,), {}),
    "normalization.expected_top_mean": ((8, 2), {}),
    "normalization.initial_rho": ((W,), {}),
    "normalization.l1_batch_norm": ((X,), {"axis": 1}),
    "normalization.l2_batch_norm": ((X,), {"axis": 1, "accumulator": HALF}),
    "normalization.linf_batch_norm": ((X,), {"axis": 1}),
    "normalization.linf_constant": ((8,), {}),
    "normalization.range_batch_norm": ((X,), {"axis": 1}),
    "normalization.range_constant": ((8,), {}),
    "normalization.top_constant": ((8, 2), {}),
    "normalization.topk_batch_norm": ((X,), {"axis": 1, "k": 2}),
}

SPLIT = emul.scaling.split_rounding(catalog.BLOCK_FORMATS["mxfp4_e2m1"])
DELAYED = emul.scaling.DelayedScale(448.0, 4)
STORED = emul.scaling.Storage(Quantizer(catalog.E5M2))
SMOOTHED = emul.scaling.smooth_swiglu(X, X.flip(0))
PAIR = torch.tensor([1.5, 0.25], dtype=torch.float64)
LOSS = (2.0, 3.0, 4.0, 0.5)  # squared norm of the gradient, curvature, trace, noise

NET = emul.tempered.draw_net((3, 2, 1), seed=4)
CUBE = torch.arange(8)[:, None] >> torch.arange(3) & 1
COUNTS = {0: 5, 1: 2, 3: 1}
LABELS = torch.tensor([0, 0, 0])

EXAMPLES |= {
    "tempered.accumulator_width": ((9,), {"bias": 9}),
    "tempered.draw_net": (((9, 4, 1),), {"seed": 7, "offset": 3}),
    "tempered.evaluate": ((NET, CUBE), {"packed": True}),
    "tempered.interpolator_error": (([COUNTS], 1, 2, Fraction(1, 8), 1), {}),
    "tempered.interpolators": ((COUNTS, {1: 0}), {}),
    "tempered.mean_error": ((COUNTS, 1, 2, Fraction(1, 8)), {}),
    "tempered.memorizing_error": ((Fraction(1, 8),), {}),
    "tempered.net_counts": ((1, 1), {}),
    "tempered.neuron_counts": ((2,), {}),
    "tempered.sample_interpolator": (((3, 2, 1), CUBE[:3], LABELS), {"seed": 4}),
    "tempered.truth_table": ((NET,), {}),
    "scaling.adam_start": ((X,), {}),
    "scaling.amax": ((X,), {}),
    "scaling.best_change": (LOSS, {}),
    "scaling.best_change_slope": (LOSS, {}),
    "scaling.best_rate": (LOSS, {}),
    "scaling.biased_error": ((1.0, 5, 0.125, 0.01, 2.0), {}),
    "scaling.biased_limit": ((0.01, 2.0), {}),
    "scaling.current_scale": ((X, 448.0), {}),
    "scaling.delayed_quantize": ((X, Quantizer(catalog.E4M3), DELAYED), {}),
    "scaling.exaq_clip": ((1.01, 2), {}),
    "scaling.expected_change": ((0.125, *LOSS), {}),
    "scaling.exponential_mse": ((-X.abs(), -3.0, 2), {}),
    "scaling.fp8_adam": ((X, emul.scaling.adam_start(X)), {"rate": 0.01}),
    "scaling.gradient_to_noise": ((1.0, 0.125, 10), {}),
    "scaling.high_precision_backward": ((SPLIT,), {}),
    "scaling.high_precision_needed": ((1.0, 0.125, 10), {}),
    "scaling.measured_noise": ((X, X.round()), {}),
    "scaling.observe": ((DELAYED, X), {}),
    "scaling.product_operands": ((X, W, W[:2], SPLIT), {"seed": 1}),
    "scaling.quantize": ((X, SR), {"scale": 4.0, "seed": 1}),
    "scaling.restore": ((SMOOTHED,), {}),
    "scaling.scale_of": ((torch.tensor(3.0), 448.0), {}),
    "scaling.smooth_scale": ((X,), {}),
    "scaling.smooth_swiglu": ((X, X.flip(0)), {"axis": -1}),
    "scaling.smooth_swiglu_gradient": ((X, X.flip(0), SMOOTHED, X), {}),
    "scaling.split_products": ((X, W, W[:2], SPLIT), {"seed": 1}),
    "scaling.split_rounding": ((catalog.BLOCK_FORMATS["mxfp4_e2m1"],), {}),
    "scaling.store": ((X, STORED), {}),
    "scaling.swish": ((X,), {}),
    "scaling.unscale": ((emul.scaling.Scaled(X, 4.0),), {}),
    "diagnostics.depth_two_run": ((PAIR, 0.125, 5, Quantizer(catalog.BINARY16)), {}),
    "diagnostics.depth_two_sharpness": ((PAIR,), {}),
    "diagnostics.emulated_step": ((PAIR, 0.125, SR), {"seed": 1}),
    "diagnostics.flow_limit": ((PAIR,), {}),
    "diagnostics.flow_sharpness": ((lambda w: w * 2, PAIR), {"step": 0.125}),
    "diagnostics.flow_shift": ((PAIR,), {}),
    "diagnostics.gfs_sharpness": ((PAIR,), {}),
    "diagnostics.gradient": ((PAIR,), {}),
    "diagnostics.gradient_flow": ((lambda w: w * 2, PAIR), {"step": 0.125}),
    "diagnostics.hessian_vector": ((lambda w: w * 2, PAIR), {}),
    "diagnostics.invariant": ((PAIR,), {}),
    "diagnostics.invariant_after": ((PAIR, 0.125), {}),
    "diagnostics.invariant_bound": ((PAIR, 0.125, Quantizer(catalog.BINARY16)), {}),
    "diagnostics.residual": ((PAIR,), {}),
    "diagnostics.roundings": ((2,), {}),
    "diagnostics.sharpness": ((lambda v: v * 3, 4), {}),
    "diagnostics.sharpness_at_minimum": ((torch.tensor([0.5, 2.0]),), {}),
    "diagnostics.step": ((PAIR, 0.125), {}),
}
