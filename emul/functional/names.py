"""The functions of torch that have products of matrices in them, by the names that a torch function mode sees."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

_SPELLINGS = {
    "__matmul__": "matmul",
    "linalg_matmul": "matmul",
    "linalg_vecdot": "vecdot",
    "linalg_multi_dot": "multi_dot",
    "linalg_matrix_power": "matrix_power",
    "linalg_matrix_exp": "matrix_exp",
    "_scaled_dot_product_attention": "scaled_dot_product_attention",
    "_grouped_mm": "grouped_mm",
}

#: Those of torch.linalg, by their names there, and their kin: they factor matrices, solve with them or take their spectra.
_FACTORIZATIONS = """cholesky cholesky_ex cholesky_solve cholesky_inverse cond det eig eigh eigvals eigvalsh geqrf inv inv_ex
    inverse ldl_factor ldl_factor_ex ldl_solve logdet lstsq lu lu_factor lu_factor_ex lu_solve matrix_norm matrix_rank
    nuclear_norm pinv pinverse qr slogdet solve solve_ex solve_triangular svd svdvals tensorinv tensorsolve triangular_solve
    svd_lowrank pca_lowrank lobpcg
    _cholesky_solve_helper _linalg_det _linalg_eigh _linalg_eigvals _linalg_slogdet _linalg_solve_ex _linalg_svd
    _lu_with_info _spsolve"""
_SPELLINGS |= {f"linalg_{name}": name for name in _FACTORIZATIONS.split()}
#: Norms are so where their order is one of singular values, which `by_singular_values` tells.
_SPELLINGS |= {"norm": "matrix_norm", "linalg_norm": "matrix_norm"}

#: Those that are emulated where a rule says so. A rule's `types` may name them.
EMULATED = (
    "linear",
    "matmul",
    "__rmatmul__",
    "mm",
    "bmm",
    "mv",
    "dot",
    "vdot",
    "addmm",
    "addmv",
    "baddbmm",
    "grouped_mm",
    "einsum",
    "conv1d",
    "conv2d",
    "conv3d",
    "scaled_dot_product_attention",
)

_ALGEBRA = """tensordot inner vecdot multi_dot chain_matmul matrix_power matrix_exp addbmm cdist pdist bilinear kron cov
    corrcoef outer ger addr linalg_householder_product orgqr ormqr embedding_bag _embedding_bag
    _embedding_bag_forward_only _trilinear _foreach_mm _euclidean_dist _cdist_forward
    _pdist_forward linear_cross_entropy cosine_similarity cosine_embedding_loss affine_grid affine_grid_generator
    cudnn_affine_grid_generator"""
#: Transforms are products with a matrix of theirs, and make convolutions of products of elements.
_TRANSFORMS = """fft_fft fft_ifft fft_rfft fft_irfft fft_hfft fft_ihfft fft_fft2 fft_ifft2 fft_rfft2 fft_irfft2 fft_hfft2
    fft_ihfft2 fft_fftn fft_ifftn fft_rfftn fft_irfftn fft_hfftn fft_ihfftn _fft_r2c _fft_c2r _fft_c2c stft istft"""
_IN_PLACE = "addmm_ addmv_ addr_ addbmm_ baddbmm_ __imatmul__"
_RECURRENT = """lstm gru rnn_tanh rnn_relu lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell quantized_lstm quantized_gru
    quantized_lstm_cell quantized_gru_cell quantized_rnn_relu_cell quantized_rnn_tanh_cell _thnn_fused_lstm_cell
    _thnn_fused_gru_cell _cudnn_rnn _lstm_mps miopen_rnn mkldnn_rnn_layer"""
_SPREAD = """conv_transpose1d conv_transpose2d conv_transpose3d slow_conv_transpose2d slow_conv_transpose3d conv_tbc
    cudnn_convolution_transpose miopen_convolution_transpose _mps_convolution_transpose"""
_CONVOLUTIONS = """convolution _convolution _convolution_mode convolution_overrideable mkldnn_convolution _mps_convolution
    cudnn_convolution cudnn_convolution_relu cudnn_convolution_add_relu miopen_convolution miopen_convolution_relu
    miopen_convolution_add_relu miopen_depthwise_convolution _nnpack_spatial_convolution _slow_conv2d_forward thnn_conv2d
    slow_conv3d slow_conv3d_forward slow_conv_dilated2d slow_conv_dilated3d conv_depthwise3d _conv_depthwise2d"""
_ATTENTIONS = """multi_head_attention_forward _native_multi_head_attention _transformer_encoder_layer_fwd
    _triton_multi_head_attention _triton_scaled_dot_attention _scaled_dot_product_attention_math
    _scaled_dot_product_attention_math_for_mps _scaled_dot_product_flash_attention
    _scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_efficient_attention
    _scaled_dot_product_cudnn_attention _scaled_dot_product_fused_attention_overrideable _flash_attention_forward
    _flash_attention_forward_no_dropout_inplace _efficient_attention_forward _cudnn_attention_forward flex_attention"""
_PACKED = """_int_mm _scaled_mm scaled_mm _scaled_mm_v2 _scaled_grouped_mm scaled_grouped_mm
    _scaled_grouped_mm_v2 _weight_int4pack_mm _weight_int4pack_mm_for_cpu _weight_int4pack_mm_with_scales_and_zeros
    _weight_int8pack_mm _dyn_quant_matmul_4bit _addmm_activation _mixed_dtypes_linear mkldnn_linear _linear
    _sparse_semi_structured_mm _sparse_semi_structured_addmm _sparse_semi_structured_linear _cslt_sparse_mm _sparse_mm
    _sparse_addmm _sparse_sparse_matmul sparse_sampled_addmm sspaddmm hspmm smm dsmm hsmm spmm saddmm
    fbgemm_linear_int8_weight fbgemm_linear_int8_weight_fp32_activation fbgemm_linear_fp16_weight
    fbgemm_linear_fp16_weight_fp32_activation _wrapped_linear_prepack _wrapped_quantized_linear_prepacked"""

#: Those that stay native, and what to do about each.
NATIVE = {
    name: remedy
    for names, remedy in (
        (_FACTORIZATIONS, "its sums are those of a library: write its steps with @, which can be emulated"),
        (_ALGEBRA, "write it with @ or einsum, which can be emulated"),
        (
            _TRANSFORMS,
            "its sums are those of a library: multiply by the transform's matrix with @, which can be emulated",
        ),
        (_IN_PLACE, "write it with @ and +, which can be emulated"),
        (_RECURRENT, "write its step with linear layers, which can be emulated"),
        (_SPREAD, "use torch.nn.functional.interpolate and a convolution, which can be emulated"),
        (_CONVOLUTIONS, "call torch.nn.functional.conv2d or its kin, which can be emulated"),
        (_ATTENTIONS, "use a torch.nn.MultiheadAttention or scaled_dot_product_attention, which can be emulated"),
        (_PACKED, "write it with dense operands and @, which can be emulated"),
    )
    for name in names.split()
}

#: An operator of another library with such a name.
FOREIGN = "operator of another library"
NATIVE[FOREIGN] = "write it with torch's own functions, which can be emulated"

_KNOWN = frozenset(EMULATED) | frozenset(NATIVE)


@lru_cache(maxsize=4096)
def product_name(func: Callable[..., Any]) -> str | None:
    """The name of a function with products in it, None for any other. `a @ b` is "matmul"; operators are named as functions."""
    name = getattr(func, "__name__", "").partition(".")[0]  # an overload of torch.ops.aten.mm is mm.default
    library = getattr(func, "_qualified_op_name", None) or getattr(func, "_name", None)
    if isinstance(library, str) and library.startswith("emul::"):
        return None
    if isinstance(library, str) and "::" in library and not library.startswith("aten::"):
        return FOREIGN if name in _KNOWN else None
    if getattr(func, "namespace", "") == "higher_order" and name not in _ATTENTIONS.split():
        return None  # torch.cond is no condition number
    name = _SPELLINGS.get(name, name)
    return name if name in _KNOWN else None


def by_singular_values(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a norm factors a matrix: the nuclear norm, and of matrices, not of all their elements, the orders 2 and -2."""
    name = func.__name__.partition(".")[0]
    if name == "nuclear_norm":
        return True
    given = dict(zip(("input", "ord", "dim"), args, strict=False)) | kwargs
    order, dims = given.get("ord", given.get("p")), given.get("dim")
    if isinstance(order, str) or name == "norm":
        return bool(order == "nuc")
    if name == "linalg_matrix_norm":
        matrix = True
    elif dims is None:
        matrix = given["input"].dim() == 2
    else:
        matrix = isinstance(dims, list | tuple) and len(dims) == 2
    return matrix and order in (2, -2)
