"""Without the program dcm2niix, as in 3D Slicer, DICOM is read by its standard headers: the same voxels and places."""

import locale
import shutil

import numpy as np
import pytest
from dicomseries import ORIENTATIONS, B, write_dicom
from refusal import refused

from ivimcore.data import dicom
from ivimcore.data.dicom import read_dicom

pydicom = pytest.importorskip("pydicom", reason="pydicom is not installed")


@pytest.fixture
def without(monkeypatch):
    """A computer without dcm2niix."""
    monkeypatch.setitem(__import__("sys").modules, "dcm2niix", None)
    monkeypatch.setattr(dicom.shutil, "which", lambda name: None)


@pytest.mark.parametrize("folder", [
    "dicom_siemens_prostate_4b/s08_4bval_0_100_400_800", "dicom_siemens_enhanced_xa/xa30_brain_b0_b2500",
    "dicom_siemens_enhanced_xa/xa61_phantom_tracew", "dicom_ge_header_only_b0_b1000",
    "dicom_philips_classic_brain_b0_b2000", "dicom_canon_enhanced_brain",
])
def test_real_series_of_four_vendors_are_bit_for_bit_those_of_dcm2niix(shared_data, folder, request):
    pytest.importorskip("dcm2niix", reason="dcm2niix is not installed")
    expected = read_dicom(shared_data / folder)
    request.getfixturevalue("without")
    read = read_dicom(shared_data / folder)
    assert read.geometry.matches(expected.geometry, 1e-4)
    order = [np.argsort(series.acquisition.bvalues, kind="stable") for series in (read, expected)]
    assert np.array_equal(read.acquisition.bvalues[order[0]], expected.acquisition.bvalues[order[1]])
    assert np.array_equal(read.signal[..., order[0]], expected.signal[..., order[1]])
    assert read.bvalue_source == "DICOM headers, read by pydicom"
    assert any("dcm2niix is not installed" in sentence for sentence in read.decisions)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("size", [(4, 6, 5), (1, 6, 5)])
def test_synthetic_series_lie_where_their_headers_say(tmp_path, without, orientation, size):
    geometry = write_dicom(tmp_path, orientation, size, thickness=4.0)
    read = read_dicom(tmp_path)
    assert read.geometry.shape == geometry.shape and np.allclose(read.geometry.affine, geometry.affine, atol=1e-5)
    assert read.acquisition.bvalues.tolist() == list(B)
    assert np.allclose(read.signal[2, 3, 0], [int(1000 * np.exp(-b * 1e-3)) for b in B])


def test_rows_and_columns_are_not_exchanged(tmp_path, without):
    geometry = write_dicom(tmp_path, "axial", (2, 6, 5))
    for path in tmp_path.iterdir():
        image = pydicom.dcmread(path)
        pixels = np.zeros((6, 5), np.uint16)
        pixels[1, 3] = 700  # second row, fourth column
        image.PixelData = pixels.tobytes()
        image.RescaleSlope, image.RescaleIntercept = 2, 5
        image.save_as(path)
    read = read_dicom(tmp_path)
    lps = np.array(image.ImagePositionPatient) + [3 * 2.0, 1 * 1.5, 0]
    ijk = np.rint(np.linalg.inv(geometry.affine) @ [-lps[0], -lps[1], lps[2], 1])[:3].astype(int)
    assert read.signal[ijk[0], ijk[1], ijk[2], 0] == 2 * 700 + 5
    assert np.count_nonzero(read.signal[..., 0] > 100) == 2, "one voxel in each of two slices"


def test_compressed_images_are_read(tmp_path, without):
    from pydicom.uid import RLELossless

    write_dicom(tmp_path, "axial", (2, 6, 5))
    plain = read_dicom(tmp_path)
    for path in tmp_path.iterdir():
        image = pydicom.dcmread(path)
        image.compress(RLELossless)
        image.save_as(path)
    assert np.array_equal(read_dicom(tmp_path).signal, plain.signal)


def test_what_pydicom_cannot_decode_is_decoded_by_simpleitk(tmp_path, without, monkeypatch):
    import SimpleITK

    before = locale.setlocale(locale.LC_ALL)
    expected = 100 * np.arange(1, 5)
    for number, value in enumerate(expected, 1):
        image = SimpleITK.GetImageFromArray(np.full((1, 8, 8), value, np.uint16))
        tags = {
            "0008|0060": "MR", "0008|103e": "dwi", "0010|0020": "T1", "0020|000d": "1.2.3", "0020|000e": "1.2.3.4",
            "0020|0011": "3", "0020|0013": str(number), "0020|0032": "0\\0\\0", "0020|0037": "1\\0\\0\\0\\1\\0",
            "0018|0050": "4", "0018|0024": f"ep_b{100 * (number - 1)}", "0008|0008": "ORIGINAL\\PRIMARY\\DIFFUSION",
        }
        for tag, text in tags.items():
            image.SetMetaData(tag, text)
        writer = SimpleITK.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        writer.SetImageIO("GDCMImageIO")
        writer.SetUseCompression(True)
        writer.SetFileName(str(tmp_path / f"{number}.dcm"))
        writer.Execute(image)
    # Writing DICOM, GDCM leaves the whole process in the locale "C", in which texts of later tests are ASCII.
    locale.setlocale(locale.LC_ALL, before)
    assert pydicom.dcmread(tmp_path / "1.dcm").file_meta.TransferSyntaxUID.is_compressed
    read = read_dicom(tmp_path)
    assert read.acquisition.bvalues.tolist() == [0, 100, 200, 300]
    assert np.array_equal(read.signal[3, 3, 0], expected)


def test_missing_uneven_and_truncated_slices_are_refused(tmp_path, without):
    write_dicom(tmp_path / "a", "axial")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    (tmp_path / "a" / "003.dcm").unlink()
    refused(lambda: read_dicom(tmp_path / "a"), "missing")
    for path in (tmp_path / "a").glob("*.dcm"):
        if pydicom.dcmread(path).InstanceNumber in (3, 7, 11, 15):
            path.unlink()
    refused(lambda: read_dicom(tmp_path / "a"), "missing")  # the third of four places: a gap
    victim = tmp_path / "b" / "005.dcm"
    victim.write_bytes(victim.read_bytes()[:-20])
    refused(lambda: read_dicom(tmp_path / "b"), "truncated")


def test_what_is_no_series_is_refused_as_with_the_program(tmp_path, without):
    refused(lambda: read_dicom(tmp_path), "no DICOM")
    (tmp_path / "notes.txt").write_text("DICM")
    (tmp_path / "dwi.nii.gz").write_bytes(b"x")
    refused(lambda: read_dicom(tmp_path), "1 NIfTI")
    write_dicom(tmp_path / "mosaic", "axial", ImageType=["ORIGINAL", "PRIMARY", "DIFFUSION", "MOSAIC"])
    refused(lambda: read_dicom(tmp_path / "mosaic"), "mosaics, which need the program dcm2niix")
    write_dicom(tmp_path / "plain", "axial", DiffusionBValue=None)
    refused(lambda: read_dicom(tmp_path / "plain"), "diffusion")
    write_dicom(tmp_path / "nowhere", "axial", PixelSpacing=None)
    refused(lambda: read_dicom(tmp_path / "nowhere"), "no DICOM")
    write_dicom(tmp_path / "nowhere" / "good", "axial")
    assert any("Part of the folder" in sentence for sentence in read_dicom(tmp_path / "nowhere").decisions)


def test_several_series_are_chosen_by_their_number(tmp_path, without):
    write_dicom(tmp_path / "a", "axial", SeriesNumber=7)
    write_dicom(tmp_path / "b", "axial", SeriesNumber=9)
    refused(lambda: read_dicom(tmp_path), "--series")
    assert read_dicom(tmp_path, series=9).acquisition.bvalues.tolist() == list(B)
