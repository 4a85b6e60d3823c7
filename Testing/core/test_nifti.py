"""NIfTI series: b-values and geometry as in the file, and each kind of bad input refused in one sentence."""

import gzip
import struct

import numpy as np
import pytest
from refusal import refused

from ivimcore.data.nifti import read_bval, read_files, read_nifti
from ivimcore.data.output import write_volume

B = [0, 5, 50, 800]
IVIM = [0, 10, 25, 50, 100, 200, 300, 400, 500]
SETS = [
    ("prostate_ivim_3T/ivim13b.nii.gz", (240, 240, 5, 13),
     [0, 25, 50, 75, 100, 150, 200, 500, 800, 1000, 1250, 1500, 2000]),
    ("spinal_cord_ivim_7T_rl/dwi_rl.nii.gz", (128, 134, 6, 11), [5, 10, 20, 30, 50, 75, 150, 250, 600, 700, 800]),
    ("flow_phantom_static/phantom_static_T70_bipolar_all.nii.gz", (100, 78, 1, 72),
     [0] * 24 + [b for b in IVIM[1:] for _ in range(6)]),
    *[(f"abdomen_ivim_3volunteers/volunteer{i}_T70_{kind}_trace.nii.gz", (100, rows, 1, 9), IVIM)
      for i, rows in ((1, 96), (3, 78), (5, 78)) for kind in ("bipolar", "flowcomp")],
]


@pytest.fixture
def series(tmp_path, write_series, signal):
    path = write_series(tmp_path / "dwi.nii.gz", signal)
    (tmp_path / "dwi.bval").write_text(" ".join(map(str, B)))
    return path


@pytest.mark.parametrize(("name", "shape", "bvalues"), SETS)
def test_real_series_have_the_bvalues_of_their_reference(shared_data, name, shape, bvalues):
    series = read_nifti(shared_data / name)
    assert series.signal.shape == shape
    assert series.acquisition.bvalues.tolist() == bvalues
    assert series.bvalue_source == (shared_data / name).name.replace(".nii.gz", ".bval")


def test_scale_factor_and_negative_values_of_the_spinal_cord_are_kept(shared_data):
    series = read_nifti(shared_data / "spinal_cord_ivim_7T_rl/dwi_rl.nii.gz")
    assert series.signal.dtype == np.float32
    assert series.signal.min() < -200


def test_dtype_order_and_values_at_a_point_survive(series, signal, oblique):
    read = read_nifti(series)
    assert read.signal.dtype == np.int16
    assert np.array_equal(read.signal, signal)
    assert read.geometry.matches(oblique, 1e-4)
    point = oblique.affine @ [6, 1, 3, 1]
    voxel = np.rint(np.linalg.solve(read.geometry.affine, point)[:3]).astype(int)
    assert read.signal[tuple(voxel)].tolist() == signal[6, 1, 3].tolist()


@pytest.mark.parametrize("text", [
    "0 5 50 800", "0\n5\n50\n800\n", "0,5,50,800", "0\t5.0\t50\t8e2", "\ufeff0; 5; 50; 800\r\n",
])
def test_bval_files_of_every_layout_are_read(tmp_path, text):
    (tmp_path / "x.bval").write_text(text, encoding="utf-8")
    assert read_bval(tmp_path / "x.bval").tolist() == B


def test_unsorted_bvalues_keep_their_order_and_five_stays_five(series):
    series.with_name("dwi.bval").write_text("800 5 50 5")
    assert read_nifti(series).acquisition.bvalues.tolist() == [800, 5, 50, 5]


@pytest.mark.parametrize(("text", "parts"), [
    ("0 5 fifty 800", ["dwi.bval", "'fifty'"]),
    ("0 5 nan 800", ["'nan'"]),
    ("0 5 inf 800", ["'inf'"]),
    ("0 5 50", ["3 b-values", "4 images"]),
    ("", ["no b-values"]),
    ("0 5 -50 800", ["negative"]),
    ("1 0 0 0\n0 1 0 0\n0 0 1 0", [".bvec"]),
])
def test_bad_bval_files_are_refused(series, text, parts):
    series.with_name("dwi.bval").write_text(text)
    refused(lambda: read_nifti(series), *parts)


def test_binary_bval_file_is_refused(series):
    series.with_name("dwi.bval").write_bytes(b"\xff\xfe\x00\x01")
    refused(lambda: read_nifti(series), "not a readable text file")


def test_missing_bval_is_refused_with_the_name_and_the_option(series):
    series.with_name("dwi.bval").unlink()
    refused(lambda: read_nifti(series), "dwi.bval", "--bval")


def test_given_bvalues_win_over_the_file_and_say_so(series, tmp_path):
    read = read_nifti(series, bvalues=[0, 10, 20, 30])
    assert read.acquisition.bvalues.tolist() == [0, 10, 20, 30]
    assert "user" in read.bvalue_source and "instead of those of dwi.bval" in read.decisions[0]
    other = tmp_path / "other.txt"
    other.write_text("0 20 40 60")
    read = read_nifti(series, bval=other)
    assert read.acquisition.bvalues.tolist() == [0, 20, 40, 60] and "other.txt" in read.bvalue_source
    refused(lambda: read_nifti(series, bval=other, bvalues=B), "twice")
    refused(lambda: read_nifti(series, bvalues=[0, 5]), "2 b-values", "4 images")
    refused(lambda: read_nifti(series, bvalues=["0", "a", 5, 6]), "not all numbers")


def write_header(order, code, shape, slope=0.0, intercept=0.0):
    """A NIfTI-1 header of 352 bytes with an identity grid."""
    header = bytearray(352)
    struct.pack_into(order + "i", header, 0, 348)
    struct.pack_into(order + "8h", header, 40, 4, *shape, 1, 1, 1)
    struct.pack_into(order + "2h", header, 70, code, {2: 8, 4: 16, 16: 32, 32: 64, 64: 64}[code])
    struct.pack_into(order + "8f", header, 76, 1, 1, 1, 1, 1, 1, 1, 1)
    struct.pack_into(order + "3f", header, 108, 352, slope, intercept)
    struct.pack_into(order + "2h", header, 252, 0, 1)
    for row in range(3):
        struct.pack_into(order + "4f", header, 280 + 16 * row, *[float(row == column) for column in range(4)])
    header[344:348] = b"n+1\0"
    return bytes(header)


@pytest.mark.parametrize(("order", "code", "dtype", "slope", "intercept", "expected"), [
    ("<", 2, "u1", 0, 0, np.uint8), ("<", 4, "i2", 1, 0, np.int16), (">", 4, "i2", 0, 5, np.int16),
    (">", 16, "f4", 1, 0, np.float32), ("<", 64, "f8", 0, 0, np.float64), ("<", 4, "i2", 0.5, -3, np.float32),
])
def test_types_byte_orders_and_scale_factors_are_honoured(
    tmp_path, signal, order, code, dtype, slope, intercept, expected
):
    stored = (signal % 200).astype(order + dtype)
    content = write_header(order, code, signal.shape, slope, intercept) + stored.tobytes(order="F")
    (tmp_path / "x.nii").write_bytes(content)
    read = read_nifti(tmp_path / "x.nii", bvalues=B)
    assert read.signal.dtype == expected and read.signal.dtype.isnative
    assert np.array_equal(read.signal, (signal % 200) * (slope or 1) + (intercept if slope else 0))


def test_nan_stays_nan(tmp_path, signal):
    values = signal.astype("<f4")
    values[3, 2, 1, 0] = np.nan
    (tmp_path / "x.nii").write_bytes(write_header("<", 16, signal.shape) + values.tobytes(order="F"))
    assert np.array_equal(read_nifti(tmp_path / "x.nii", bvalues=B).signal, values, equal_nan=True)


def test_complex_images_and_absurd_headers_are_refused(tmp_path, signal):
    (tmp_path / "x.nii").write_bytes(write_header("<", 32, signal.shape) + bytes(8 * signal.size))
    refused(lambda: read_nifti(tmp_path / "x.nii", bvalues=B), "complex")
    with gzip.open(tmp_path / "huge.nii.gz", "wb") as stream:
        stream.write(write_header("<", 4, (32767, 32767, 32767, 32767)))
    refused(lambda: read_nifti(tmp_path / "huge.nii.gz", bvalues=B), "damaged")


def test_damaged_checksum_of_a_compressed_file_is_refused(series):
    content = bytearray(series.read_bytes())
    content[-6] ^= 1
    series.write_bytes(content)
    refused(lambda: read_nifti(series), "damaged")


@pytest.mark.parametrize("name", ["cut.nii.gz", "cut.nii"])
def test_truncated_files_are_refused(series, tmp_path, name):
    content = series.read_bytes() if name.endswith("gz") else gzip.decompress(series.read_bytes())
    (tmp_path / name).write_bytes(content[: len(content) * 2 // 3])
    (tmp_path / "cut.bval").write_text("0 5 50 800")
    refused(lambda: read_nifti(tmp_path / name), "truncated")


def test_other_bad_images_are_refused(tmp_path, signal, oblique):
    single = write_volume(signal[..., 0], oblique, tmp_path / "single.nii.gz")
    refused(lambda: read_nifti(single), "single 3D image")
    (tmp_path / "text.nii").write_text("hello")
    refused(lambda: read_nifti(tmp_path / "text.nii"), "not a NIfTI file")
    (tmp_path / "empty.nii.gz").write_bytes(b"")
    refused(lambda: read_nifti(tmp_path / "empty.nii.gz"))
    refused(lambda: read_nifti(tmp_path / "absent.nii"), "does not exist")
    refused(lambda: read_nifti(tmp_path), "folder")


def test_directions_are_turned_into_ras_and_a_bad_bvec_is_only_mentioned(series, oblique):
    bvec = series.with_name("dwi.bvec")
    bvec.write_text("0 1 0 0\n0 0 2 0\n0 0 0 1\n")
    directions = read_nifti(series).acquisition.directions
    assert np.allclose(np.linalg.norm(directions, axis=1), [0, 1, 1, 1])
    axes = oblique.affine[:3, :3] / oblique.spacing
    sign = -1 if np.linalg.det(axes) > 0 else 1
    assert np.allclose(directions[1], sign * axes[:, 0], atol=1e-5)
    assert np.allclose(directions[2], axes[:, 1], atol=1e-5)
    bvec.write_text("0 1 0\n0 0 2\n0 0 0\n")
    read = read_nifti(series)
    assert read.acquisition.directions is None and "directions" in read.decisions[0]


@pytest.fixture
def files(tmp_path, signal, oblique):
    return [write_volume(signal[..., i], oblique, tmp_path / f"b{b}.nii.gz") for i, b in enumerate(B)]


def test_several_3d_files_are_one_series_in_the_given_order(files, signal, oblique):
    read = read_files(files[::-1], bvalues=B[::-1])
    assert np.array_equal(read.signal, signal[..., ::-1]) and read.signal.dtype == np.int16
    assert read.geometry.matches(oblique, 1e-4)
    refused(lambda: read_files(files, bvalues=[0, 5]), "2 b-values", "4 images")


def test_several_3d_files_take_the_bvalue_beside_each(files):
    for path, b in zip(files, B, strict=True):
        path.with_name(f"b{b}.bval").write_text(str(b))
    assert read_files(files).acquisition.bvalues.tolist() == B
    files[2].with_name("b50.bval").unlink()
    refused(lambda: read_files(files), "b50.bval", "--bval")


def test_3d_files_of_another_grid_a_repeated_file_and_a_4d_file_are_refused(files, series, tmp_path, signal, oblique):
    small = type(oblique)((7, 6, 4), oblique.affine)
    other = write_volume(signal[:, :, :4, 0], small, tmp_path / "other.nii.gz")
    refused(lambda: read_files([files[0], other], bvalues=[0, 5]), "7 x 6 x 4", "7 x 6 x 5")
    refused(lambda: read_files([files[0], files[0]], bvalues=[0, 5]), "twice")
    refused(lambda: read_files([files[0], series], bvalues=[0, 5]), "4 images")
