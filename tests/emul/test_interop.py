"""Torch's narrow types go in and out as codes in the same memory, and mean the same values."""

import pytest

from emul.interop import FORMAT_OF_DTYPE, format_of, view_as, view_codes

torch = pytest.importorskip("torch")
NARROW = [dtype for dtype in FORMAT_OF_DTYPE if dtype not in (torch.float32, torch.float64)]


@pytest.mark.parametrize("dtype", NARROW, ids=str)
def test_every_code_means_the_value_of_the_torch_type(dtype):
    fmt = format_of(dtype)
    codes = torch.arange(1 << fmt.bits).to(torch.uint8 if fmt.bits == 8 else torch.uint16)
    values = view_as(codes, dtype).to(torch.float64)
    torch.testing.assert_close(values, torch.from_numpy(fmt.decode(codes.numpy())), rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("dtype", FORMAT_OF_DTYPE, ids=str)
def test_views_share_memory_both_ways(dtype):
    tensor = torch.zeros(3, 4).to(dtype)
    codes, _ = view_codes(tensor)
    assert codes.data_ptr() == tensor.data_ptr()
    assert codes.shape == (3, 4)
    assert view_as(codes, dtype).data_ptr() == tensor.data_ptr()


@pytest.mark.skipif(not hasattr(torch, "float4_e2m1fn_x2"), reason="this torch has no float4_e2m1fn_x2")
def test_packed_fp4_comes_apart_low_half_first():
    packed = torch.tensor([[0x21, 0x7F]], dtype=torch.uint8).view(torch.float4_e2m1fn_x2)
    codes, fmt = view_codes(packed)
    assert str(fmt) == "e2m1"
    assert codes.tolist() == [[1, 2, 15, 7]]
    assert torch.equal(view_as(codes, torch.float4_e2m1fn_x2).view(torch.uint8), packed.view(torch.uint8))
    with pytest.raises(ValueError, match=r"\[3\].*pairs"):
        view_as(torch.zeros(3, dtype=torch.uint8), torch.float4_e2m1fn_x2)
    with pytest.raises(ValueError, match="code 16 does not fit 4 bits"):
        view_as(torch.tensor([16, 0], dtype=torch.uint8), torch.float4_e2m1fn_x2)
    assert view_codes(torch.tensor(0x21, dtype=torch.uint8).view(torch.float4_e2m1fn_x2))[0].tolist() == [1, 2]
    assert view_codes(torch.zeros(0, 3, dtype=torch.uint8).view(torch.float4_e2m1fn_x2))[0].shape == (0, 6)


def test_unknown_types_and_widths_are_refused():
    with pytest.raises(TypeError, match=r"torch.int8 is no format"):
        view_codes(torch.zeros(2, dtype=torch.int8))
    with pytest.raises(TypeError, match=r"torch.int32.*codes of torch.uint8"):
        view_as(torch.zeros(2, dtype=torch.int32), torch.float8_e5m2)
    with pytest.raises(TypeError, match=r"tensor is list: give a torch\.Tensor"):
        view_codes([1.0])
    with pytest.raises(TypeError, match=r"codes is ndarray: give a torch\.Tensor \(numerics\.interop takes"):
        view_as(torch.zeros(2, dtype=torch.uint8).numpy(), torch.float8_e5m2)
