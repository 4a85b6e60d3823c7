"""Maps go into DICOM and come back with the same numbers at the same places; what cannot be filed is refused."""

from __future__ import annotations

import errno
import json
import shutil
import subprocess

import numpy as np
import pytest
from dicomseries import ORIENTATIONS, B, values_by_position, write_dicom, write_result
from refusal import refused

from ivimcore import cli
from ivimcore.data import output
from ivimcore.data.geometry_io import LPS_TO_RAS, geometry_of
from ivimcore.data.output import write_labels
from ivimcore.data.reading import read_series
from ivimcore.errors import InputError
from ivimcore.estimators import create
from ivimcore.jobs.job import Job, Outcome
from ivimcore.reports import dicomcodes
from ivimcore.reports.dicomcohort import file_report
from ivimcore.reports.dicomexport import DicomCompanion, export_dicom, read_results
from ivimcore.reports.dicomimages import to_integers

hd = pytest.importorskip("highdicom", reason="highdicom is not installed")
pydicom = pytest.importorskip("pydicom", reason="pydicom is not installed")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture
def study(tmp_path):
    """A synthetic series, its grid and maps: (source, result, geometry, maps)."""
    geometry = write_dicom(tmp_path / "source")
    maps = write_result(tmp_path / "result", geometry)
    return tmp_path / "source", tmp_path / "result", geometry, maps


def labels_on(geometry, path):
    labels = np.zeros(geometry.shape, np.uint8)
    labels[2:4, 1:4, 1:3] = 1
    labels[1:3, 4:5, 2:4] = 2
    write_labels(labels, {1: "lesion 1", 2: "Größe 2"}, geometry, path)
    return labels


def assert_map_is_back(path, geometry, volume):
    read = pydicom.dcmread(path)
    shared = read.SharedFunctionalGroupsSequence[0]
    orientation = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
    spacing = np.array(shared.PixelMeasuresSequence[0].PixelSpacing, float)
    positions = [item.PlanePositionSequence[0].ImagePositionPatient for item in read.PerFrameFunctionalGroupsSequence]
    planes = np.frombuffer(read.FloatPixelData, np.float32).reshape(-1, read.Rows, read.Columns)
    found, expected = values_by_position(positions, orientation, spacing, planes, geometry, volume)
    assert np.array_equal(found, expected, equal_nan=True)
    return read


def numbers(definition):
    return [float(item.NumericValue) for item in definition if item.ValueType == "NUMERIC"]


@pytest.mark.parametrize(("orientation", "gap"), [*((name, 4.0) for name in ORIENTATIONS), ("axial", 9.0)])
def test_a_map_comes_back_by_position_whatever_the_stack(tmp_path, orientation, gap):
    geometry = write_dicom(tmp_path / "s", orientation, spacing=(gap, 1.5, 2.0))
    maps = write_result(tmp_path / "r", geometry)
    done = export_dicom(tmp_path / "r", tmp_path / "s", tmp_path / "out", ["maps", "images"])
    for key, volume in maps.items():
        read = assert_map_is_back(done.folder / f"maps/nlls_{key}.dcm", geometry, volume)
    assert read.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SliceThickness == 3
    volume = hd.imread(done.folder / "maps/nlls_D.dcm").get_volume(apply_real_world_transform=False)
    point = volume.map_indices_to_reference(np.array([[1, 2, 3]]))[0]
    i, j, k = np.rint(np.linalg.inv(LPS_TO_RAS @ geometry.affine) @ [*point, 1])[:3].astype(int)
    assert volume.array[1, 2, 3] == maps["D"][i, j, k] and volume.spacing[0] == pytest.approx(gap)


def test_plain_images_come_back_through_simpleitk_in_readable_integers(study):
    import SimpleITK

    source, result, geometry, maps = study
    done = export_dicom(result, source, result.parent / "out", ["images"])
    for key, step in (("D", 1e-6), ("f", 1e-3), ("Dstar", 1e-5)):
        folder = done.folder / f"images/nlls_{key}"
        reader = SimpleITK.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
        image = reader.Execute()
        read = SimpleITK.GetArrayFromImage(image)
        own = geometry_of(image)
        assert own.spacing == pytest.approx([2.0, 1.5, 4.0], abs=1e-4)
        index = np.indices(own.shape).reshape(3, -1)
        ours = np.linalg.inv(geometry.affine) @ own.affine @ np.vstack([index, np.ones(index.shape[1])])
        values = maps[key][tuple(np.rint(ours[:3]).astype(int))]
        found = read.transpose(2, 1, 0).reshape(-1).astype(float)
        there = np.isfinite(values)
        assert np.all(found[~there] == 0) and np.all(found[there] >= 1)
        assert np.abs(found[there] * step - values[there]).max() <= 1.001 * step
        header = pydicom.dcmread(folder / "0001.dcm")
        assert header.PixelPaddingValue == 0 and "RESEARCH" in header.SeriesDescription
        mapping = header.RealWorldValueMappingSequence[0]
        assert float(mapping.RealWorldValueSlope) == step and numbers(mapping.QuantityDefinitionSequence) == list(B)


def test_a_map_says_what_it_is_and_of_which_images(study):
    source, result, _, _ = study
    done = export_dicom(result, source, result.parent / "out", ["maps"])
    read = pydicom.dcmread(done.folder / "maps/nlls_D.dcm")
    assert read.ContentQualification == "RESEARCH" and np.isnan(read.FloatPixelPaddingValue)
    mapping = read.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    assert mapping.MeasurementUnitsCodeSequence[0].CodeValue == "mm2/s"
    coded = [item.ConceptCodeSequence[0].CodeValue for item in mapping.QuantityDefinitionSequence
             if item.ValueType == "CODE"]  # fmt: skip
    assert coded == ["113291", "113251", "113261"] and numbers(mapping.QuantityDefinitionSequence) == list(B)
    images = {header.SOPInstanceUID: header for header in map(pydicom.dcmread, source.iterdir())}
    for item in read.PerFrameFunctionalGroupsSequence:
        named = item.DerivationImageSequence[0].SourceImageSequence
        position = np.array(item.PlanePositionSequence[0].ImagePositionPatient, float)
        assert sorted(images[one.ReferencedSOPInstanceUID].DiffusionBValue for one in named) == list(B)
        for one in named:
            there = np.array(images[one.ReferencedSOPInstanceUID].ImagePositionPatient, float)
            assert np.allclose(there, position, atol=1e-4)
    assert len(read.ReferencedSeriesSequence[0].ReferencedInstanceSequence) == len(images)
    assert read.PatientID == "T1" and read.StudyInstanceUID == done.folder.name
    sd = pydicom.dcmread(done.folder / "maps/nlls_D_sd.dcm")
    assert sd.ImageType[3] == "STD_DEVIATION" and sd.SeriesInstanceUID != read.SeriesInstanceUID
    definition = sd.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0].QuantityDefinitionSequence
    assert definition[3].ConceptCodeSequence[0].CodeValue == "386136009"


def test_estimators_without_a_standard_code_have_one_of_a_declared_scheme():
    assert dicomcodes.fitting_code("mle_rician", B)[1] == dicomcodes.SCHEME
    assert dicomcodes.fitting_code("ivimnet_optim", B)[1] == dicomcodes.SCHEME
    assert dicomcodes.fitting_code("adc", (0, 800)) == dicomcodes.TWO_SAMPLES
    assert dicomcodes.fitting_code("posterior", B) == dicomcodes.BAYESIAN


def test_segmented_has_the_code_of_what_its_second_step_really_fits():
    held, fitted = dicomcodes.SEGMENTED_CONSTRAINED, dicomcodes.SEGMENTED_UNCONSTRAINED
    assert dicomcodes.fitting_code("segmented", B, {}) == held
    assert dicomcodes.fitting_code("segmented", B, {"fit_f": True}) == fitted
    assert dicomcodes.fitting_code("segmented", (5, 50, 200, 800), {"fit_f": False}) == fitted


def test_the_standard_codes_are_those_of_pydicom():
    from pydicom.sr._concepts_dict import concepts

    known = {(scheme, value) for scheme, names in concepts.items() for codes in names.values() for value in codes}
    ours = [value for value in vars(dicomcodes).values() if isinstance(value, tuple) and len(value) == 3]
    for value, scheme, _ in [*ours, *dicomcodes.BODY_PARTS.values()]:
        if scheme in ("DCM", "UMLS") or (value, scheme) in {code[:2] for code in dicomcodes.BODY_PARTS.values()}:
            assert (scheme, value) in known, value


def test_the_report_and_its_segmentation_come_back(study):
    source, result, geometry, maps = study
    labels = labels_on(geometry, result.parent / "rois.seg.nrrd")
    done = export_dicom(result, source, result.parent / "out", ["report"], rois=result.parent / "rois.seg.nrrd")
    regions = hd.seg.segread(done.folder / "report/segmentation.dcm")
    read = pydicom.dcmread(done.folder / "report/segmentation.dcm")
    assert [segment.TrackingID for segment in read.SegmentSequence] == ["lesion 1", "Größe 2"]
    for number in (1, 2):
        volume = regions.get_volume(segment_numbers=[number], combine_segments=True)
        index = np.argwhere(volume.array > 0)
        points = volume.map_indices_to_reference(index)
        places = np.linalg.inv(LPS_TO_RAS @ geometry.affine) @ np.vstack([points.T, np.ones(len(points))])
        back = np.zeros(geometry.shape, bool)
        back[tuple(np.rint(places[:3]).astype(int))] = True
        assert np.array_equal(back, labels == number)
    report = hd.sr.srread(done.folder / "report/report.dcm")
    groups = report.content.get_volumetric_roi_measurement_groups()
    assert [group.tracking_identifier for group in groups] == ["lesion 1", "Größe 2"]
    assert [group.tracking_uid for group in groups] == [segment.TrackingUID for segment in read.SegmentSequence]
    for number, group in enumerate(groups, 1):
        found = {(one.name.value, one.derivation.value): one.value for one in group.get_measurements()}
        inside = maps["D"][labels == number]
        assert found["113291", "373099004"] == pytest.approx(np.nanmedian(inside), rel=1e-5)
        assert found["113291", "373098007"] == pytest.approx(np.nanmean(inside), rel=1e-5)


def test_picture_and_page_are_filed(study, tmp_path):
    import SimpleITK

    source, result, _, _ = study
    pixels = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(pixels, isVector=True), str(result / "overview.png"))
    (tmp_path / "r.pdf").write_bytes(b"%PDF-1.4 not quite")
    done = export_dicom(result, source, tmp_path / "out", ["capture"], pdf=tmp_path / "r.pdf")
    assert np.array_equal(pydicom.dcmread(done.folder / "capture/overview.dcm").pixel_array, pixels)
    page = pydicom.dcmread(done.folder / "capture/report.dcm")
    assert page.EncapsulatedDocument[: page.EncapsulatedDocumentLength] == b"%PDF-1.4 not quite"
    (tmp_path / "r.pdf").write_bytes(b"<html>")
    refused(lambda: export_dicom(result, source, tmp_path / "o2", ["capture"], pdf=tmp_path / "r.pdf"), "no PDF")


def validator_says(path):
    """What dciodvfy writes of one file; it repeats texts of the file in the file's own character set."""
    done = subprocess.run(["dciodvfy", path], stderr=subprocess.PIPE, encoding="utf-8", errors="replace", check=False)
    return done.stderr


VALIDATOR_WARNINGS = ("DICOMDIR", "Retired Person Name", "<99IVIM>", "<QUANTITY>", "<Scan Options>")
"""Explained in the README."""


def test_every_object_passes_the_validator(study):
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy (Debian package dicom3tools) is not installed")
    import SimpleITK

    source, result, geometry, _ = study
    pixels = SimpleITK.GetImageFromArray(np.zeros((20, 30, 3), np.uint8), isVector=True)
    SimpleITK.WriteImage(pixels, str(result / "overview.png"))
    (result / "r.pdf").write_bytes(b"%PDF-1.4")
    labels_on(geometry, result.parent / "rois.seg.nrrd")
    done = export_dicom(result, source, result.parent / "out", rois=result.parent / "rois.seg.nrrd",
                        pdf=result / "r.pdf")  # fmt: skip
    assert not done.notes
    for file in done.files:
        said = validator_says(done.folder / file)
        lines = [line for line in said.splitlines() if line.startswith(("Error", "Warning"))]
        assert not [line for line in lines if not any(part in line for part in VALIDATOR_WARNINGS)], (file, lines)


@pytest.mark.parametrize("folder", [
    "dicom_siemens_prostate_4b/s08_4bval_0_100_400_800", "dicom_siemens_enhanced_xa/xa30_brain_b0_b2500",
    "dicom_siemens_enhanced_xa/xa61_phantom_tracew", "dicom_ge_header_only_b0_b1000",
    "dicom_philips_classic_brain_b0_b2000", "dicom_canon_enhanced_brain",
])  # fmt: skip
def test_series_of_every_vendor_go_out_and_come_back(shared_data, tmp_path, folder):
    pytest.importorskip("dcm2niix", reason="dcm2niix is not installed")
    series = read_series(shared_data / folder)
    bvalues = [float(b) for b in series.acquisition.bvalues]
    maps = write_result(tmp_path / "r", series.geometry, bvalues=bvalues)
    done = export_dicom(tmp_path / "r", shared_data / folder, tmp_path / "out", ["maps", "images"], ["D", "f"],
                        patient_id="T1")  # fmt: skip
    read = assert_map_is_back(done.folder / "maps/nlls_D.dcm", series.geometry, maps["D"])
    mapping = read.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    assert numbers(mapping.QuantityDefinitionSequence) == bvalues
    for item in read.PerFrameFunctionalGroupsSequence:
        named = item.DerivationImageSequence[0].SourceImageSequence
        count = sum(len(np.atleast_1d(one.get("ReferencedFrameNumber", 0))) for one in named)
        assert count in (len(bvalues), len(bvalues) + 1)  # Philips appends a trace image with the same b
    if shutil.which("dciodvfy"):
        for file in ("maps/nlls_D.dcm", "images/nlls_f/0001.dcm"):
            said = validator_says(done.folder / file)
            assert "Error" not in said, said


def test_what_is_written_is_never_read_as_source_and_uids_are_new(study):
    source, result, _, _ = study
    first = export_dicom(result, source, source / "out", ["maps"], ["D"])
    second = export_dicom(result, source, result.parent / "out2", ["maps"], ["D"])
    uids = [pydicom.dcmread(done.folder / done.files[0]).SOPInstanceUID for done in (first, second)]
    assert uids[0] != uids[1]


def test_values_beyond_16_bits_are_clipped_and_counted():
    planes = np.array([[[np.nan, 0.0, 1e-4, 0.7, -0.1]]])
    found, said = to_integers(planes, "Dstar")
    assert found.tolist() == [[[0, 1, 10, 65535, 1]]]
    assert "1 values above 0.6554 and 1 values below 0" in said and to_integers(planes[..., :3], "D")[1] == ""


def export(study, out="out", forms=("maps",), **more):
    source, result, _, _ = study
    return export_dicom(result, source, result.parent / out, forms, **more)


def change(source, **tags):
    for path in source.iterdir():
        header = pydicom.dcmread(path)
        for key, value in tags.items():
            if value is None:
                delattr(header, key)
            else:
                setattr(header, key, value)
        header.save_as(path)


def test_a_source_that_is_no_dicom_is_refused(study):
    _, result, _, _ = study
    refused(lambda: export_dicom(result, result, result.parent / "o", ["maps"]), "no DICOM MR images", "patient")
    refused(lambda: export_dicom(result, result / "no", result.parent / "o", ["maps"]), "does not exist")
    refused(lambda: export_dicom(result.parent, result, result.parent / "o", ["films"]), "Unknown form 'films'")
    refused(lambda: export_dicom(result.parent / "source", result, result.parent / "o"), "holds no result")
    assert not (result.parent / "o").exists()


def test_a_missing_patient_is_asked_for_and_never_invented(study):
    change(study[0], PatientID="")
    refused(lambda: export(study), "no Patient ID", "--patient-id")
    done = export(study, patient_id="X9", patient_name="Doe^Jane")
    header = pydicom.dcmread(done.folder / done.files[0])
    assert (header.PatientID, str(header.PatientName)) == ("X9", "Doe^Jane")


def test_missing_identifiers_and_positions_are_named(study):
    change(study[0], FrameOfReferenceUID=None)
    refused(lambda: export(study), "Frame of Reference UID (0020,0052)")
    change(study[0], FrameOfReferenceUID="1.2.3", ImagePositionPatient=None)
    refused(lambda: export(study), "Image Position", "standard tags")


def test_a_deidentified_source_stays_so_in_words(study):
    change(study[0], PatientIdentityRemoved="YES", DeidentificationMethod="by hand")
    done = export(study)
    assert any("de-identified" in note for note in done.notes)
    assert pydicom.dcmread(done.folder / done.files[0]).PatientIdentityRemoved == "YES"


@pytest.mark.parametrize(("charset", "name"), [
    ("ISO_IR 100", "Müller^Jörg"), ("ISO 2022 IR 149", "Hong^Gildong=洪^吉洞"),
])  # fmt: skip
def test_names_of_any_script_arrive(tmp_path, charset, name):
    charsets = ["", charset] if "2022" in charset else charset
    geometry = write_dicom(tmp_path / "s", SpecificCharacterSet=charsets, PatientName=name)
    write_result(tmp_path / "r", geometry)
    done = export_dicom(tmp_path / "r", tmp_path / "s", tmp_path / "out", ["maps", "images"], ["D"])
    for file in done.files:
        assert str(pydicom.dcmread(done.folder / file).PatientName) == name


def test_instances_that_are_there_twice_count_once(study):
    source = study[0]
    shutil.copy(source / "001.dcm", source / "copy.dcm")
    done = export(study)
    assert any(note.startswith("1 instances") for note in done.notes)


def test_mixed_geometry_missing_slices_and_several_patients_are_refused(study, tmp_path):
    source = study[0]
    kept = pydicom.dcmread(source / "001.dcm")
    other = pydicom.dcmread(source / "001.dcm")
    other.PixelSpacing = [9, 9]
    other.save_as(source / "001.dcm")
    refused(lambda: export(study), "mixes images")
    kept.PatientID = "T2"
    kept.save_as(source / "001.dcm")
    refused(lambda: export(study), "several patients")
    for path in source.iterdir():
        if int(path.stem) % 4 == 1:
            path.unlink()
    refused(lambda: export(study), "no image at 1 of 4 slices")
    write_result(tmp_path / "result", write_dicom(tmp_path / "else", size=(4, 6, 7)))
    refused(lambda: export(study), "grid of the maps")


def test_two_series_that_fit_must_be_chosen(study, tmp_path):
    source = study[0]
    shutil.copytree(source, source / "again")
    for path in (source / "again").iterdir():
        header = pydicom.dcmread(path)
        header.SeriesInstanceUID, header.SeriesNumber = "1.2.3.4", 8
        header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID[:50] + ".9"
        header.save_as(path)
    refused(lambda: export(study), "choose one with --series", "8")
    done = export(study, series="8")
    read = pydicom.dcmread(done.folder / done.files[0])
    assert [item.SeriesInstanceUID for item in read.ReferencedSeriesSequence] == ["1.2.3.4"]
    refused(lambda: export(study, series="9"), "no series '9'")


def test_a_full_disk_in_the_middle_leaves_no_half_series(study, monkeypatch):
    written = []

    def save(self, path, **_):
        written.append(path)
        if len(written) > 3:
            raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(pydicom.Dataset, "save_as", save)
    refused(lambda: export(study, forms=("images",)), "no space left")
    assert len(written) == 4 and not (study[1].parent / "out").exists() and not output._OPEN


def test_forms_without_their_input_are_left_out_in_words(study):
    done = export(study, forms=("maps", "capture", "report"))
    assert any("overview.png" in note for note in done.notes) and any("--rois" in note for note in done.notes)
    refused(lambda: export(study, "o2", ("report",)), "Nothing to write", "--rois")
    refused(lambda: export(study, "o2", maps=["kurtosis"]), "no map 'kurtosis'")


def test_the_shell_exports_and_says_where(study, capsys):
    source, result, _, _ = study
    arguments = ["export-dicom", str(result), "--source", str(source), "--out", str(result.parent / "out")]
    assert cli.main([*arguments, "--forms", "maps", "images"]) == 0
    assert "DICOM files" in capsys.readouterr().err
    assert cli.main([*arguments[:3], str(result), *arguments[4:]]) == cli.WRONG_INPUT


def test_several_estimators_are_filed_together(study, tmp_path):
    source, result, geometry, _ = study
    write_result(tmp_path / "both" / "nlls", geometry)
    write_result(tmp_path / "both" / "adc", geometry, "adc")
    assert {one.estimator for one in read_results(tmp_path / "both")} == {"nlls", "adc"}
    done = export_dicom(tmp_path / "both", source, tmp_path / "out", ["maps"], ["D"])
    assert [file.name for file in done.files] == ["adc_D.dcm", "nlls_D.dcm"]
    with pytest.raises(InputError):
        read_results(tmp_path / "source")


@pytest.mark.skipif(shutil.which("paramap2itkimage") is None, reason="dcmqi is not installed (pip install dcmqi)")
def test_dcmqi_reads_maps_regions_and_report(study, tmp_path):
    import SimpleITK

    source, result, geometry, maps = study
    labels = labels_on(geometry, result.parent / "rois.seg.nrrd")
    done = export_dicom(result, source, tmp_path / "out", ["maps", "report"], rois=result.parent / "rois.seg.nrrd")

    def run(program, file, *more):
        subprocess.run([program, "--inputDICOM", done.folder / file, *more], check=True, capture_output=True)

    def by_position(path, expected):
        image = SimpleITK.ReadImage(str(path))
        own, read = geometry_of(image), SimpleITK.GetArrayFromImage(image).transpose(2, 1, 0)
        index = np.indices(own.shape).reshape(3, -1)
        there = np.linalg.inv(geometry.affine) @ own.affine @ np.vstack([index, np.ones(index.shape[1])])
        return read.ravel(), expected[tuple(np.rint(there[:3]).astype(int))]

    for key, volume in maps.items():
        folder = tmp_path / key
        folder.mkdir()
        run("paramap2itkimage", f"maps/nlls_{key}.dcm", "--outputDirectory", folder, "--outputType", "nrrd")
        found, expected = by_position(folder / "pmap.nrrd", volume)
        assert np.array_equal(found, expected, equal_nan=True), key
        about = json.loads((folder / "meta.json").read_text("utf-8"))
        assert [float(b) for b in about["SourceImageDiffusionBValues"]] == list(B)
        assert about["AnatomicRegionSequence"]["CodeMeaning"] == "Liver"
    run("segimage2itkimage", "report/segmentation.dcm", "--outputDirectory", tmp_path, "--outputType", "nrrd")
    for number in (1, 2):
        found, expected = by_position(tmp_path / f"{number}.nrrd", labels == number)
        assert np.array_equal(found > 0, expected)
    run("tid1500reader", "report/report.dcm", "--outputMetadata", tmp_path / "sr.json")
    groups = json.loads((tmp_path / "sr.json").read_text("utf-8"))["Measurements"]
    assert [group["TrackingIdentifier"] for group in groups] == ["lesion 1", "Größe 2"]
    first = groups[0]["measurementItems"][0]
    assert float(first["value"]) == pytest.approx(np.nanmean(maps["D"][labels == 1]), rel=1e-5)


def test_a_measurement_carries_fitting_method_and_bvalues_as_codes(study):
    source, result, geometry, _ = study
    labels_on(geometry, result.parent / "rois.seg.nrrd")
    done = export(study, forms=("report",), rois=result.parent / "rois.seg.nrrd")
    report = hd.sr.srread(done.folder / "report/report.dcm")
    one = report.content.get_volumetric_roi_measurement_groups()[0].get_measurements()[0]
    items = [(item.ConceptNameCodeSequence[0].CodeValue, item) for item in one[0].ContentSequence]
    (method,) = [item for code, item in items if code == "113241"]
    assert method.ConceptCodeSequence[0].CodeValue == "113261" and method.RelationshipType == "HAS CONCEPT MOD"
    found = [item for code, item in items if code == "113240"]
    assert [float(item.MeasuredValueSequence[0].NumericValue) for item in found] == list(B)
    assert {item.RelationshipType for item in found} == {"INFERRED FROM"}


def test_bvalues_in_private_tags_only_name_the_same_sources(tmp_path):
    geometry = write_dicom(tmp_path / "s", Manufacturer="SIEMENS")
    write_result(tmp_path / "r", geometry)
    b_of = {}
    for path in (tmp_path / "s").iterdir():
        header = pydicom.dcmread(path)
        b_of[header.SOPInstanceUID] = b = header.DiffusionBValue
        del header.DiffusionBValue
        header.private_block(0x0019, "SIEMENS MR HEADER", create=True).add_new(0x0C, "IS", int(b))
        header.save_as(path)
    done = export_dicom(tmp_path / "r", tmp_path / "s", tmp_path / "out", ["maps"], ["D"])
    read = pydicom.dcmread(done.folder / "maps/nlls_D.dcm")
    for item in read.PerFrameFunctionalGroupsSequence:
        named = item.DerivationImageSequence[0].SourceImageSequence
        assert sorted(b_of[one.ReferencedSOPInstanceUID] for one in named) == list(B)
    assert not done.notes
    # Without any b-value every image of the slice is named, and that is said.
    for path in (tmp_path / "s").iterdir():
        header = pydicom.dcmread(path)
        header.remove_private_tags()
        header.save_as(path)
    done = export_dicom(tmp_path / "r", tmp_path / "s", tmp_path / "out2", ["maps"], ["D"])
    assert any("stand in no header" in note for note in done.notes)


def test_the_report_of_a_cohort_is_filed_with_every_study_or_with_none(study, tmp_path, monkeypatch):
    source, result, _, _ = study
    home = tmp_path / "cohort"
    for name in ("A/1", "B/1"):
        export_dicom(result, source, home / name / "dicom", ["maps"], ["D"])
    (tmp_path / "report.pdf").write_bytes(b"%PDF-1.7 text")
    written = file_report(home, tmp_path / "report.pdf")
    assert len(written) == 2
    for path in written:
        read = pydicom.dcmread(path)
        assert (read.PatientID, read.StudyInstanceUID) == ("T1", path.parents[1].name)
        assert read.EncapsulatedDocument.startswith(b"%PDF-1.7 text") and "RESEARCH" in read.SeriesDescription
        if shutil.which("dciodvfy"):
            said = validator_says(path)
            assert "Error" not in said, said
        path.unlink()
    kept, saved = pydicom.Dataset.save_as, []

    def save(self, path, **more):
        saved.append(path)
        if len(saved) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        kept(self, path, **more)

    monkeypatch.setattr(pydicom.Dataset, "save_as", save)
    refused(lambda: file_report(home, tmp_path / "report.pdf"), "no space left")
    assert not list(home.rglob("capture/*"))
    refused(lambda: file_report(tmp_path / "source", tmp_path / "report.pdf"), "holds no DICOM objects")


def test_a_cohort_files_its_dicom_series_and_keeps_the_maps_of_others(shared_data, tmp_path):
    pytest.importorskip("dcm2niix", reason="dcm2niix is not installed")
    series = shared_data / "dicom_siemens_enhanced_xa/xa61_phantom_tracew"
    (tmp_path / "m.csv").write_text(f"subject,session,series\nA,1,{series}\n", encoding="utf-8")
    arguments = ["cohort", str(tmp_path / "m.csv"), "--out", str(tmp_path / "out"), "--estimator", "adc",
                 "--workers", "0"]  # fmt: skip
    assert cli.main([*arguments, "--dicom", "maps", "images"]) == 0
    written = list((tmp_path / "out").rglob("dicom/*/maps/adc_ADC.dcm"))
    assert len(written) == 1 and pydicom.dcmread(written[0]).ContentQualification == "RESEARCH"
    assert len(list((tmp_path / "out").rglob("dicom/*/images/adc_ADC/*.dcm"))) == 10

    said = []
    job = Job(inputs=(str(tmp_path / "result"),), out=str(tmp_path / "o"))
    read = read_series(series)
    fit = create("adc").fit(read.signal, read.acquisition, np.ones(read.geometry.shape, bool))
    (tmp_path / "result").mkdir()
    DicomCompanion(("maps",))(Outcome(job, read, None, None, {}, {"adc": fit}, {}), tmp_path / "result", said.append)
    assert "No DICOM was written" in said[0]["text"] and not list((tmp_path / "result").iterdir())
