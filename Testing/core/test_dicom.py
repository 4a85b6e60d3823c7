"""DICOM series of four vendors: b-values as in the references, series joined or to be chosen, bad folders refused."""

import shutil
import subprocess

import numpy as np
import pytest
from refusal import refused

from ivimcore.data import dicom
from ivimcore.data.dicom import read_dicom
from ivimcore.data.dicom_choice import Converted, choose, join_sentences, role_of
from ivimcore.data.dicom_tags import bvalues_of_tags, header_bvalues, private_bvalue
from ivimcore.data.nifti import read_bval

SIEMENS = "dicom_siemens_prostate_4b"
SERIES_8 = f"{SIEMENS}/s08_4bval_0_100_400_800"


@pytest.fixture(scope="module", autouse=True)
def _program():
    pytest.importorskip("dcm2niix", reason="dcm2niix is not installed")


@pytest.mark.parametrize(("folder", "reference", "shape"), [
    (SERIES_8, f"{SIEMENS}/reference_dcm2niix_s08.bval", (160, 130, 20, 4)),
    ("dicom_siemens_enhanced_xa/xa30_brain_b0_b2500", "dicom_siemens_enhanced_xa/reference_dcm2niix_xa30.bval",
     (72, 72, 39, 7)),
    ("dicom_ge_header_only_b0_b1000", "dicom_ge_header_only_b0_b1000/reference_dcm2niix.bval", (256, 256, 2, 7)),
    ("dicom_philips_classic_brain_b0_b2000", "dicom_philips_classic_brain_b0_b2000/reference_dcm2niix.bval",
     (80, 80, 6, 16)),
    ("dicom_canon_enhanced_brain", "dicom_canon_enhanced_brain/reference_dcm2niix.bval", (80, 80, 40, 13)),
])
def test_real_series_have_the_bvalues_of_their_reference(shared_data, folder, reference, shape):
    series = read_dicom(shared_data / folder)
    assert series.signal.shape == shape
    assert np.array_equal(series.acquisition.bvalues, read_bval(shared_data / reference))
    assert series.format == "DICOM" and "dcm2niix" in series.bvalue_source


def test_trailing_trace_image_of_philips_is_left_out_in_words(shared_data):
    series = read_dicom(shared_data / "dicom_philips_classic_brain_b0_b2000")
    assert series.signal.dtype == np.float32
    assert any(text.startswith("1 trace or ADC image made by the scanner") for text in series.decisions)


def test_scanner_made_trace_images_are_the_series_where_nothing_else_is_there(shared_data):
    series = read_dicom(shared_data / "dicom_siemens_enhanced_xa/xa61_phantom_tracew")
    assert series.acquisition.bvalues.tolist() == [0, 2000] and series.signal.shape == (100, 100, 10, 2)
    assert any("trace images made by the scanner" in text for text in series.decisions)


def test_single_file_is_read_without_its_neighbours(shared_data):
    assert read_dicom(shared_data / "dicom_canon_enhanced_brain/4000.dcm").acquisition.count == 13


def test_geometry_of_the_oblique_series_follows_its_headers(shared_data):
    pydicom = pytest.importorskip("pydicom")
    series = read_dicom(shared_data / SERIES_8)
    for path in sorted((shared_data / SERIES_8).iterdir())[::13]:
        header = pydicom.dcmread(path)
        corner = np.array([*map(float, header.ImagePositionPatient), 1.0]) * [-1, -1, 1, 1]
        i, j, k = np.rint(np.linalg.solve(series.geometry.affine, corner)[:3]).astype(int)
        image = series.acquisition.bvalues.tolist().index(float(header[0x0019, 0x100C].value))
        # dcm2niix stores rows from the back to the front.
        assert (i, j) == (0, 129)
        assert np.array_equal(series.signal[:, ::-1, k, image].T, header.pixel_array)


def test_series_of_another_echo_time_are_not_joined_unless_the_user_says_so(shared_data):
    folder = shared_data / SIEMENS
    message = refused(lambda: read_dicom(folder), "echo time", "--series 8 or --series 17,18,19", "TE 72 ms")
    assert "ProstateX" not in message
    assert read_dicom(folder, series=8).acquisition.bvalues.tolist() == [0, 100, 400, 800]
    assert read_dicom(folder, series="4BVAL").acquisition.count == 4
    series = read_dicom(folder, series="8,17,18,19")
    assert series.acquisition.bvalues.tolist() == [0, 100, 400, 800, 100, 500, 1400]
    assert any("echo times differ" in text for text in series.decisions)
    assert any("0.86 times" in text and "doubtful" in text for text in series.decisions)
    refused(lambda: read_dicom(folder, series=99), "no series '99'", "series 17", "b 100")


def test_series_of_one_bvalue_each_are_joined_in_words(shared_data, tmp_path):
    for name in ("s17_highb_100", "s18_highb_500", "s19_highb_1400"):
        shutil.copytree(shared_data / SIEMENS / name, tmp_path / name)
    series = read_dicom(tmp_path)
    assert series.acquisition.bvalues.tolist() == [100, 500, 1400] and series.signal.dtype == np.int16
    assert np.all(np.diff(series.signal.mean(axis=(0, 1, 2))) < 0)
    assert any(text.startswith("3 series on the same grid are joined") for text in series.decisions)


def test_single_image_is_refused_and_named(shared_data):
    refused(lambda: read_dicom(shared_data / SIEMENS, series=17), "single diffusion image", "series 17")


def test_given_bvalues_win(shared_data):
    series = read_dicom(shared_data / SERIES_8, bvalues=[0, 50, 300, 900])
    assert series.acquisition.bvalues.tolist() == [0, 50, 300, 900] and "user" in series.bvalue_source
    refused(lambda: read_dicom(shared_data / SERIES_8, bvalues=[0, 50]), "2 b-values", "4 images")


def change(source, target, pydicom, **tags):
    """Copy DICOM files with some header values changed."""
    target.mkdir()
    for path in source:
        header = pydicom.dcmread(path)
        for key, value in tags.items():
            setattr(header, key, value)
        header.save_as(target / path.name)


@pytest.fixture
def series_8(shared_data):
    pydicom = pytest.importorskip("pydicom")
    paths = sorted((shared_data / SERIES_8).iterdir())
    values = [float(pydicom.dcmread(path, stop_before_pixels=True)[0x0019, 0x100C].value) for path in paths]
    return {b: [path for path, value in zip(paths, values, strict=True) if value == b] for b in (0, 100, 400, 800)}


def test_series_of_b_zero_only_takes_its_bvalue_from_the_header(series_8, tmp_path):
    pydicom = pytest.importorskip("pydicom")
    change(series_8[0], tmp_path / "b0", pydicom, SeriesNumber=5, SeriesInstanceUID="1.2.3.5", SequenceName="ep2d")
    change(series_8[800], tmp_path / "b800", pydicom, SeriesNumber=6, SeriesInstanceUID="1.2.3.6")
    series = read_dicom(tmp_path)
    assert series.acquisition.bvalues.tolist() == [0, 800]
    assert "(0019,100C)" in series.bvalue_source and "(series 5)" in series.bvalue_source


def test_two_patients_are_refused_without_a_name(series_8, tmp_path):
    pydicom = pytest.importorskip("pydicom")
    for number, name in enumerate(("Secret^One", "Secret^Two")):
        change([*series_8[0], *series_8[800]], tmp_path / str(number), pydicom, PatientID=name, PatientName=name,
               SeriesInstanceUID=f"1.2.3.{number}", StudyInstanceUID=f"1.2.{number}", SeriesNumber=number + 1)
    message = refused(lambda: read_dicom(tmp_path), "2 patients")
    assert "Secret" not in message
    assert read_dicom(tmp_path, series=2).acquisition.bvalues.tolist() == [0, 800]


def test_repeated_measurements_must_be_chosen(series_8, tmp_path):
    pydicom = pytest.importorskip("pydicom")
    for number in (1, 2):
        change([*series_8[0], *series_8[800]], tmp_path / str(number), pydicom, SeriesNumber=number,
               SeriesInstanceUID=f"1.2.3.{number}")
    refused(lambda: read_dicom(tmp_path), "repeated", "series 1", "series 2", "--series")
    assert read_dicom(tmp_path, series=2).acquisition.count == 2


def test_series_without_diffusion_is_refused_and_listed(series_8, tmp_path):
    pydicom = pytest.importorskip("pydicom")
    (tmp_path / "t2").mkdir()
    for path in series_8[0]:
        header = pydicom.dcmread(path)
        del header[0x0019, 0x100C]
        header.SeriesDescription, header.SequenceName, header.ProtocolName = "t2_tse_tra", "tse2d1", "t2_tse_tra"
        header.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND"]
        header.save_as(tmp_path / "t2" / path.name)
    refused(lambda: read_dicom(tmp_path), "no diffusion-weighted series", "t2_tse_tra", "no b-values")


def test_truncated_and_missing_files_are_refused(shared_data, tmp_path):
    shutil.copytree(shared_data / SERIES_8, tmp_path / "x")
    victim = tmp_path / "x/1-18.dcm"
    content = victim.read_bytes()
    victim.write_bytes(content[: len(content) // 2])
    refused(lambda: read_dicom(tmp_path / "x"), "truncated")
    victim.unlink()
    refused(lambda: read_dicom(tmp_path / "x"), "missing")


def test_folders_without_dicom_are_refused(tmp_path):
    refused(lambda: read_dicom(tmp_path), "no DICOM", str(tmp_path))
    (tmp_path / "dwi.nii.gz").write_bytes(b"x")
    refused(lambda: read_dicom(tmp_path), "1 NIfTI")
    refused(lambda: read_dicom(tmp_path / "absent"), "does not exist")


def test_without_dcm2niix_and_pydicom_the_pip_command_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "dcm2niix", None)
    monkeypatch.setattr(dicom.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(dicom.shutil, "which", lambda name: None)
    refused(lambda: read_dicom(tmp_path), "pip install dcm2niix")


def test_temporary_folder_is_removed_even_when_interrupted(tmp_path, monkeypatch):
    monkeypatch.setattr(dicom.tempfile, "tempdir", str(tmp_path))
    (tmp_path / "in").mkdir()

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "run", interrupt)
    with pytest.raises(KeyboardInterrupt):
        read_dicom(tmp_path / "in")
    assert not list(tmp_path.glob("ivim-dicom-*"))


@pytest.mark.parametrize(("value", "b"), [
    (b"100 ", 100), (b"1400", 1400), ("800", 800), (b"1000000100\\8\\0\\0", 100), ([1000000050, 8, 0, 0], 50), (0, 0),
    (np.float64(650).tobytes(), 650), (np.float32(20).tobytes(), 20), (b"abc", None), (b"", None), ([], None),
    (None, None), (-1, None), ("much", None),
])
def test_private_bvalue_tags_of_every_representation_are_understood(value, b):
    assert private_bvalue(value) == b


def test_tags_of_ge_and_enhanced_headers_are_understood(shared_data):
    pydicom = pytest.importorskip("pydicom")
    canon = pydicom.dcmread(shared_data / "dicom_canon_enhanced_brain/4000.dcm", stop_before_pixels=True)
    assert header_bvalues(canon)[0] == {0, 1500}
    folder = shared_data / "dicom_ge_header_only_b0_b1000"
    uid = pydicom.dcmread(next((folder / "01_Ax_DWI_TENSOR_R2").iterdir()), stop_before_pixels=True).SeriesInstanceUID
    assert bvalues_of_tags(folder, {uid})[uid][0] == {0, 1000}


def test_computed_images_are_told_by_name_and_image_type(tmp_path):
    assert role_of(tmp_path / "s6_ADC.nii", {}) == "map"
    assert role_of(tmp_path / "s6.nii", {"ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", "ADC"]}) == "map"
    assert role_of(tmp_path / "s6.nii", {"ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", "CALC_BVALUE"]}) == "map"
    assert role_of(tmp_path / "s6_ph.nii", {}) == "other"
    assert role_of(tmp_path / "s6.nii", {"ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", "TRACEW"]}) == "trace"
    assert role_of(tmp_path / "s6.nii", {"ImageType": ["ORIGINAL", "PRIMARY", "DIFFUSION", "NONE"]}) == "dwi"


@pytest.fixture
def image(tmp_path, oblique):
    def make(number, bvalues, role="dwi", **other):
        values = {"geometry": oblique, "study": "a", "patient": "p", "echo_time": 0.06, "phase": "", **other}
        return Converted(
            path=tmp_path / f"s{number}.nii", number=number, description="x", count=len(bvalues),
            bvalues=np.array(bvalues, float), source="", role=role, uid=str(number), **values,
        )
    return make


def test_trace_images_are_left_out_beside_their_originals(image):
    original, trace = image(3, [0, 50, 50, 50, 800, 800, 800]), image(4, [50, 800], "trace")
    chosen, decisions = choose([original, trace], None, False)
    assert chosen == [original] and "originals are used" in decisions[0]
    assert choose([original, trace], 4, False)[0] == [trace]


def test_the_only_group_with_several_bvalues_is_taken(image):
    main, reverse = image(3, [0, 50, 800], phase="j"), image(4, [0], phase="j-")
    chosen, decisions = choose([main, reverse], None, False)
    assert chosen == [main] and "phase-encoding direction" in decisions[0] and "series 4" in decisions[0]


def test_joined_series_of_equal_scaling_are_not_called_doubtful(image):
    pair = [image(1, [0, 100]), image(2, [100])]
    ones = np.ones((7, 6, 5, 2))
    assert [text for text in join_sentences(pair, [ones, ones[..., :1]]) if "doubtful" in text] == []
    assert "doubtful" in join_sentences(pair, [ones, 2 * ones[..., :1]])[-1]


def test_series_chosen_together_need_one_grid(image, oblique):
    pair = [image(1, [0, 100]), image(2, [400], geometry=type(oblique)((7, 6, 4), oblique.affine))]
    refused(lambda: choose(pair, "1,2", False), "different grids", "7 x 6 x 4")
