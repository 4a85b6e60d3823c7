"""What we filed comes back as it was; maps of scanners and of other programs are recognised and compared."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess

import numpy as np
import pytest
from dicomseries import ORIENTATIONS, B, write_dicom, write_result, write_scanner_adc
from refusal import refused

from ivimcore import cli
from ivimcore.data.nifti_file import read_volumes
from ivimcore.data.output import write_labels, write_volume
from ivimcore.data.reading import read_series
from ivimcore.reports.dicomcomparison import compare_adc
from ivimcore.reports.dicomexport import export_dicom, read_results
from ivimcore.reports.dicomfiles import write_imported
from ivimcore.reports.dicomimport import is_adc, on_grid, read_objects

hd = pytest.importorskip("highdicom", reason="highdicom is not installed")
pydicom = pytest.importorskip("pydicom", reason="pydicom is not installed")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.mark.parametrize("orientation", list(ORIENTATIONS))
def test_our_maps_come_back_with_key_estimator_and_bvalues(tmp_path, orientation):
    geometry = write_dicom(tmp_path / "s", orientation)
    extra = np.full(geometry.shape, 0.5, np.float32)
    maps = write_result(tmp_path / "r", geometry, D_info=extra, D_low=extra / 1000, f_probability=extra.copy())
    export_dicom(tmp_path / "r", tmp_path / "s", tmp_path / "out", ["maps"])
    found = read_objects(tmp_path / "out")
    assert {one.key for one in found.maps} == set(maps)
    for one in found.maps:
        assert np.array_equal(on_grid(one, geometry).volume, maps[one.key], equal_nan=True)
        assert (one.origin, one.estimator, one.bvalues) == ("IVIMSlicer", "nlls", B)
    assert not found.notes


def test_plain_images_regions_and_numbers_come_back(tmp_path):
    geometry = write_dicom(tmp_path / "s")
    maps = write_result(tmp_path / "r", geometry)
    labels = np.zeros(geometry.shape, np.uint8)
    labels[2:4, 1:4, 1:3] = 1
    labels[1:3, 4:5, 2:4] = 2
    write_labels(labels, {1: "lesion 1", 2: "Größe 2"}, geometry, tmp_path / "rois.seg.nrrd")
    done = export_dicom(tmp_path / "r", tmp_path / "s", tmp_path / "out", ["images", "report"],
                        rois=tmp_path / "rois.seg.nrrd")  # fmt: skip
    found = read_objects(done.folder)
    for one in found.maps:
        back = on_grid(one, geometry).volume
        assert np.array_equal(np.isnan(back), np.isnan(maps[one.key]))
        step = {"D": 1e-6, "f": 1e-3, "Dstar": 1e-5}[one.key]
        assert np.nanmax(np.abs(back - maps[one.key])) <= 1.01 * step
    index = np.argwhere(found.labels == 2).T
    points = found.label_geometry.affine @ np.vstack([index, np.ones(index.shape[1])])
    places = np.rint(np.linalg.inv(geometry.affine) @ points)[:3].astype(int)
    assert np.all(labels[tuple(places)] == 2) and index.shape[1] == np.count_nonzero(labels == 2)
    assert found.names == {1: "lesion 1", 2: "Größe 2"}
    rows = {(row["region"], row["map"], row["statistic"]): row["value"] for row in found.measurements}
    assert rows["Größe 2", "f", "Mean"] == pytest.approx(np.nanmean(maps["f"][labels == 2]), rel=1e-5)
    # A segmentation alone has its own grid.
    alone = read_objects(done.folder / "report")
    assert np.count_nonzero(alone.labels == 1) == np.count_nonzero(labels == 1)


def test_the_adc_of_a_scanner_stands_beside_ours_with_the_difference(tmp_path, capsys):
    geometry = write_dicom(tmp_path / "s")
    maps = write_result(tmp_path / "r", geometry, "adc", ADC=np.full(geometry.shape, 1.1e-3, np.float32))
    theirs = np.full(geometry.shape, 1.0e-3)
    theirs[3, 2, 1] = 2e-3
    write_scanner_adc(tmp_path / "adc", geometry, theirs)
    found = read_objects(tmp_path / "adc")
    (one,) = found.maps
    assert (one.key, one.origin, one.label) == ("ADC", "scanner", "ep2d_diff_ADC")
    assert np.allclose(on_grid(one, geometry).volume, theirs, atol=1e-9)
    assert any("names no unit" in note for note in found.notes)
    (row,) = compare_adc(found, maps, geometry, None, None, "adc")
    assert row["difference"] == pytest.approx(1e-4, rel=1e-3)
    assert row["difference_percent"] == pytest.approx(10, rel=1e-3)
    arguments = ["import-dicom", str(tmp_path / "adc"), "--out", str(tmp_path / "o"), "--result", str(tmp_path / "r")]
    assert cli.main(arguments) == 0 and "adc_comparison.csv" in capsys.readouterr().err
    with open(tmp_path / "o/adc_comparison.csv", newline="", encoding="utf-8") as stream:
        (written,) = csv.DictReader(stream)
    assert float(written["ours"]) == pytest.approx(1.1e-3) and written["map"] == "ADC"
    refused(lambda: compare_adc(found, {"f": maps["f"]}, geometry), "no ADC map")


def test_a_parametric_map_of_another_program_is_scaled_to_our_units(tmp_path):
    geometry = write_dicom(tmp_path / "s")
    maps = write_result(tmp_path / "r", geometry, "adc", ADC=np.full(geometry.shape, 1.1e-3, np.float32))
    done = export_dicom(tmp_path / "r", tmp_path / "s", tmp_path / "out", ["maps"], ["ADC"])
    path = done.folder / done.files[0]
    foreign = pydicom.dcmread(path)
    foreign.Manufacturer, foreign.SeriesDescription = "QIICR", "ADC map"
    mapping = foreign.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    mapping.MeasurementUnitsCodeSequence[0].CodeValue = "um2/s"
    foreign.FloatPixelData = (np.frombuffer(foreign.FloatPixelData, np.float32) * 1e6).tobytes()
    foreign.save_as(path)
    (one,) = read_objects(tmp_path / "out").maps
    assert (one.key, one.origin, one.estimator) == ("ADC", "parametric map", "")
    assert np.allclose(on_grid(one, geometry).volume, maps["ADC"], rtol=1e-5, equal_nan=True)
    mapping.QuantityDefinitionSequence[0].ConceptCodeSequence[0].CodeValue = "12345"
    foreign.save_as(path)
    files, notes = write_imported(tmp_path / "out", tmp_path / "o")
    assert files == ["parametric_map_ADC_map.nii.gz"] and "none of ours" in notes[0]


def test_files_come_back_as_a_result_folder_would_hold_them(tmp_path):
    geometry = write_dicom(tmp_path / "s")
    maps = write_result(tmp_path / "r", geometry)
    export_dicom(tmp_path / "r", tmp_path / "s", tmp_path / "out", ["maps"])
    files, _ = write_imported(tmp_path / "out", tmp_path / "o")
    assert files == sorted(f"nlls_{key}.nii.gz" for key in maps)
    values, grid = read_volumes(tmp_path / "o/nlls_D.nii.gz")
    places = np.linalg.inv(grid.affine) @ geometry.affine @ [3, 4, 2, 1]
    assert values[tuple(np.rint(places[:3]).astype(int))][0] == maps["D"][3, 4, 2]


def test_folders_without_objects_and_broken_stacks_are_refused(tmp_path):
    geometry = write_dicom(tmp_path / "s")
    refused(lambda: read_objects(tmp_path / "s"), "no maps")
    refused(lambda: read_objects(tmp_path / "none"), "does not exist")
    write_scanner_adc(tmp_path / "adc", geometry, np.full(geometry.shape, 1e-3))
    next(iter(sorted((tmp_path / "adc").iterdir())[1:])).unlink()
    refused(lambda: read_objects(tmp_path / "adc"), "doubled, missing or not parallel")


@pytest.mark.parametrize("folder", [
    "dicom_siemens_prostate_4b/s08_4bval_0_100_400_800", "dicom_siemens_enhanced_xa/xa30_brain_b0_b2500",
    "dicom_philips_classic_brain_b0_b2000", "dicom_canon_enhanced_brain",
])  # fmt: skip
def test_series_in_maps_out_objects_out_objects_in_gives_the_same_numbers(shared_data, tmp_path, folder):
    pytest.importorskip("dcm2niix", reason="dcm2niix is not installed")
    out = ["--estimator", "adc", "--mask", "none", "--out", str(tmp_path / "r"), "--json"]
    assert cli.main(["map", str(shared_data / folder), *out]) == 0
    (result,) = read_results(tmp_path / "r")
    export_dicom(tmp_path / "r", shared_data / folder, tmp_path / "out", ["maps"], patient_id="T1")
    found = read_objects(tmp_path / "out")
    bvalues = read_series(shared_data / folder).acquisition.bvalues
    assert {one.key for one in found.maps} == set(result.maps)
    for one in found.maps:
        assert one.bvalues == tuple(bvalues)
        assert np.array_equal(on_grid(one, result.geometry).volume, result.maps[one.key], equal_nan=True)


@pytest.mark.parametrize(("image_type", "description", "known"), [
    (["DERIVED", "PRIMARY", "DIFFUSION", "ADC", "ND"], "ep2d_diff", True),
    (["DERIVED", "SECONDARY", "OTHER"], "dADC (10^-6 mm2/s)", True),
    (["DERIVED", "SECONDARY"], "Apparent Diffusion Coefficient (mm2/s)", True),
    (["DERIVED", "PRIMARY"], "eADC", False), (["DERIVED", "PRIMARY"], "Exponential Apparent Diffusion", False),
    (["ORIGINAL", "PRIMARY"], "DWI for ADC", False), (["DERIVED", "PRIMARY"], "cadence", False),
])  # fmt: skip
def test_an_adc_is_known_by_its_type_or_as_a_derived_image_by_its_description(image_type, description, known):
    assert is_adc(image_type, description) == known


def test_an_object_that_cannot_be_read_is_named_and_the_others_come(tmp_path):
    geometry = write_dicom(tmp_path / "s")
    maps = write_result(tmp_path / "r", geometry)
    done = export_dicom(tmp_path / "r", tmp_path / "s", tmp_path / "out", ["maps"], ["D", "f"])
    damaged = pydicom.dcmread(done.folder / "maps/nlls_f.dcm")
    damaged.FloatPixelData = damaged.FloatPixelData[:40]
    damaged.save_as(done.folder / "maps/nlls_f.dcm")
    shutil.copy(done.folder / "maps/nlls_D.dcm", done.folder / "maps/twice.dcm")
    found = read_objects(done.folder)
    assert [one.key for one in found.maps] == ["D"]
    assert np.array_equal(on_grid(found.maps[0], geometry).volume, maps["D"], equal_nan=True)
    assert any("nlls_f.dcm cannot be read" in note for note in found.notes)
    (done.folder / "maps/nlls_D.dcm").unlink()
    (done.folder / "maps/twice.dcm").unlink()
    refused(lambda: read_objects(done.folder), "nlls_f.dcm cannot be read")


def test_zeros_of_a_scanner_count_as_no_value(tmp_path):
    geometry = write_dicom(tmp_path / "s")
    theirs = np.full(geometry.shape, 1e-3)
    theirs[:2] = 0
    write_scanner_adc(tmp_path / "adc", geometry, theirs)
    (one,) = read_objects(tmp_path / "adc").maps
    assert np.array_equal(np.isnan(on_grid(one, geometry).volume), theirs == 0)


@pytest.mark.skipif(shutil.which("itkimage2paramap") is None, reason="dcmqi is not installed (pip install dcmqi)")
def test_a_map_that_dcmqi_wrote_is_read_as_what_it_is(tmp_path):
    geometry = write_dicom(tmp_path / "s", spacing=(4.0, 2.0, 2.0))  # it swaps the sides of pixels that are not square
    values = np.random.default_rng(3).uniform(5e-4, 2e-3, geometry.shape).astype(np.float32)
    write_volume(values, geometry, tmp_path / "adc.nii.gz")

    def code(value, scheme, meaning):
        return {"CodeValue": value, "CodingSchemeDesignator": scheme, "CodeMeaning": meaning}

    about = {
        "@schema": "https://raw.githubusercontent.com/qiicr/dcmqi/master/doc/schemas/pm-schema.json#",
        "SeriesDescription": "ADC", "SeriesNumber": "99", "InstanceNumber": "1", "BodyPartExamined": "LIVER",
        "QuantityValueCode": code("113041", "DCM", "Apparent Diffusion Coefficient"),
        "MeasurementUnitsCode": code("mm2/s", "UCUM", "mm2/s"),
        "MeasurementMethodCode": code("113250", "DCM", "Mono-exponential diffusion model"),
        "SourceImageDiffusionBValues": ["0", "800"], "AnatomicRegionSequence": code("10200004", "SCT", "Liver"),
        "FrameLaterality": "U", "DerivedPixelContrast": "ADC", "RealWorldValueSlope": "1",
        "DerivationCode": code("110816", "DCM", "Time Course of Signal"),
    }  # fmt: skip
    (tmp_path / "about.json").write_text(json.dumps(about))
    subprocess.run([
        "itkimage2paramap", "--inputImage", tmp_path / "adc.nii.gz", "--inputMetadata", tmp_path / "about.json",
        "--inputDICOMList", str(next((tmp_path / "s").iterdir())), "--outputDICOM", tmp_path / "pm.dcm",
    ], check=True, capture_output=True)  # fmt: skip
    (one,) = read_objects(tmp_path / "pm.dcm").maps
    assert (one.key, one.origin, one.bvalues) == ("ADC", "parametric map", (0.0, 800.0))
    assert np.allclose(on_grid(one, geometry).volume, values, rtol=1e-6)
