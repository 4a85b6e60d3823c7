"""One job from a series to a folder of maps, in this process."""

from __future__ import annotations

import csv
import json
import re
import sys

import numpy as np
import pytest

from ivimcore import Cancelled, InputError, create
from ivimcore.data.nifti_file import read_volumes
from ivimcore.data.nrrd import read_header
from ivimcore.data.output import write_images, write_labels, write_volume
from ivimcore.data.phantom_series import series_of_phantom
from ivimcore.data.raw_nrrd import raw_bytes, raw_header, raw_numbers, write_raw
from ivimcore.jobs.job import Job, Request, run
from ivimcore.physics.phantom import abdomen
from ivimcore.reports.companions import companions


@pytest.fixture(scope="module")
def phantom_files(tmp_path_factory):
    """A small phantom on disk: series, b-values, mask, regions."""
    folder = tmp_path_factory.mktemp("phantom")
    phantom = abdomen(shape=(40, 40, 3), snr=60, oblique=True)
    series = series_of_phantom(phantom)
    write_images(series.signal, series.geometry, folder / "dwi.nii.gz")
    (folder / "dwi.bval").write_text(" ".join(f"{b:g}" for b in series.acquisition.bvalues))
    write_volume(phantom.mask.astype(np.uint8), series.geometry, folder / "mask.nii.gz")
    write_labels(np.where(phantom.labels == 5, 5, 0), {5: "liver"}, series.geometry, folder / "rois.seg.nrrd")
    return folder, phantom


def job_of(folder, out, **changes) -> Job:
    least_squares = (Request("nlls"),)
    return Job(**{"inputs": (str(folder / "dwi.nii.gz"),), "out": str(out), "estimators": least_squares, **changes})


def test_a_job_writes_every_map_with_its_provenance_and_statistics(phantom_files, tmp_path):
    folder, phantom = phantom_files
    events = []
    job = job_of(folder, tmp_path / "out", mask=str(folder / "mask.nii.gz"), rois=str(folder / "rois.seg.nrrd"))
    run(job, events.append, companions=companions())
    names = {path.name for path in (tmp_path / "out").iterdir()}
    maps = {f"{key}.nii.gz" for key in ("D", "f", "Dstar", "S0", "rmse", "status", "D_sd", "f_sd", "Dstar_sd", "S0_sd")}
    tables = {"roi_statistics.csv", "region_means.csv", "region_curves.csv"}
    assert names == maps | tables | {"regions.seg.nrrd", "provenance.json"}
    D, geometry = read_volumes(tmp_path / "out" / "D.nii.gz")
    np.testing.assert_allclose(geometry.affine, phantom.affine, atol=1e-4)
    liver = phantom.labels == 5
    assert abs(np.median(D[liver][:, 0]) / np.median(phantom.truth["D"][liver]) - 1) < 0.05
    assert np.isnan(D[~phantom.mask]).all()
    provenance = json.loads((tmp_path / "out" / "provenance.json").read_text("utf-8"))
    assert provenance["estimator"] == "nlls" and provenance["bvalue_source"]
    assert len(provenance["input"]["sha256"]) == 64
    assert [event["event"] for event in events][-1] == "result"


def test_without_a_choice_the_posterior_runs_and_shows_how_sure_it_is(phantom_files, tmp_path):
    folder, _ = phantom_files
    job = Job(inputs=(str(folder / "dwi.nii.gz"),), out=str(tmp_path / "out"), mask=str(folder / "mask.nii.gz"))
    run(job, lambda event: None, companions=companions())
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"D_sd.nii.gz", "Dstar_info.nii.gz", "f_probability.nii.gz", "Dstar_low.nii.gz"} <= names
    provenance = json.loads((tmp_path / "out" / "provenance.json").read_text("utf-8"))
    assert provenance["estimator"] == "posterior" and provenance["noise"]["sigma"] > 0 and provenance["prior"]["kind"]


def test_what_an_estimator_had_to_say_of_a_small_region_is_a_warning(phantom_files, tmp_path):
    folder, phantom = phantom_files
    few = np.zeros(phantom.mask.shape, np.uint8)
    few[tuple(np.argwhere(phantom.labels == 5)[:10].T)] = 1
    write_volume(few, series_of_phantom(phantom).geometry, folder / "few.nii.gz")
    events = []
    job = job_of(folder, tmp_path / "out", mask=str(folder / "few.nii.gz"), estimators=(Request("posterior"),))
    run(job, events.append)
    said = [event["text"] for event in events if event["event"] == "warning"]
    assert any("No prior can be learned from 10 voxels" in text for text in said)


def test_a_prior_file_is_used_and_its_path_stays_out_of_the_provenance(phantom_files, tmp_path):
    folder, phantom = phantom_files
    series = series_of_phantom(phantom)
    estimator = create("posterior", prior="learned", rounds=3)
    prior = estimator.learn(series.signal, series.acquisition, phantom.mask)
    path = tmp_path / "Doe^Jane.npz"
    prior.save(path)
    options = {"prior": "file", "prior_file": str(path)}
    run(job_of(folder, tmp_path / "out", estimators=(Request("posterior", options),)), lambda event: None)
    text = (tmp_path / "out" / "provenance.json").read_text("utf-8")
    assert prior.checksum in text and "Jane" not in text


def test_the_provenance_holds_no_name_of_the_input(phantom_files, tmp_path):
    folder, _ = phantom_files
    secret = tmp_path / "Doe^Jane"
    secret.mkdir()
    for name in ("dwi.nii.gz", "dwi.bval"):
        (secret / name).write_bytes((folder / name).read_bytes())
    run(job_of(secret, tmp_path / "out"), lambda event: None, companions=companions())
    for path in (tmp_path / "out").glob("*.[jc]s*"):
        assert "Jane" not in path.read_text("utf-8")


def test_several_estimators_get_a_folder_each_and_a_common_table(phantom_files, tmp_path):
    folder, _ = phantom_files
    job = job_of(folder, tmp_path / "out", estimators=(Request("nlls"), Request("adc")), file_format="nrrd")
    run(job, lambda event: None, companions=companions())
    assert (tmp_path / "out" / "nlls" / "D.nrrd").is_file() and (tmp_path / "out" / "adc" / "ADC.nrrd").is_file()
    table = (tmp_path / "out" / "roi_statistics.csv").read_text("utf-8")
    assert re.search("^nlls,", table, re.M) and re.search("^adc,", table, re.M)


def test_maps_that_are_read_once_are_written_raw_and_hold_the_same(phantom_files, tmp_path):
    folder, _ = phantom_files
    for compress in (True, False):
        job = job_of(folder, tmp_path / str(compress), file_format="nrrd", compress=compress)
        run(Job.from_json(job.to_json()), lambda event: None)
    for path in (tmp_path / "False").glob("*.nrrd"):
        assert b"encoding: raw" in path.read_bytes()[:2000]
        assert b"encoding: gzip" in (tmp_path / "True" / path.name).read_bytes()[:2000]
        raw, packed = (read_volumes(tmp_path / name / path.name)[0] for name in ("False", "True"))
        np.testing.assert_array_equal(raw, packed)


def test_a_fit_of_raw_images_needs_no_simpleitk(phantom_files, tmp_path, monkeypatch):
    folder, phantom = phantom_files
    series = series_of_phantom(phantom)
    geometry = series.geometry
    with open(tmp_path / "series.nrrd", "wb") as stream:
        stream.write(raw_header((*geometry.shape, series.signal.shape[3]), geometry, "f4"))
        for number in range(series.signal.shape[3]):
            stream.write(raw_bytes(series.signal[..., number], "f4"))
    write_raw(tmp_path / "mask.nrrd", phantom.mask.astype(np.uint8), geometry)
    shared = {"file_format": "nrrd", "compress": False, "bvalues": tuple(float(b) for b in series.acquisition.bvalues)}
    # The plain files on the way through SimpleITK must lead to the same maps.
    with_library = job_of(folder, tmp_path / "with", mask=str(folder / "mask.nii.gz"), **shared)
    run(with_library, lambda event: None)
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    inputs = {"inputs": (str(tmp_path / "series.nrrd"),), "mask": str(tmp_path / "mask.nrrd")}
    run(job_of(folder, tmp_path / "without", **shared, **inputs), lambda event: None)
    for path in (tmp_path / "without").glob("*.nrrd"):
        values = [
            raw_numbers(tmp_path / name / path.name, read_header(path).fields) for name in ("with", "without")
        ]
        np.testing.assert_allclose(*values, rtol=1e-4)
    with pytest.raises(InputError, match="need SimpleITK"):
        run(job_of(folder, tmp_path / "refused", **shared), lambda event: None)


def test_the_table_of_region_means_tells_the_information(phantom_files, tmp_path):
    folder, _ = phantom_files
    both = (Request("posterior", {"prior": "uniform"}), Request("adc"))
    job = job_of(folder, tmp_path / "out", rois=str(folder / "rois.seg.nrrd"), estimators=both)
    run(job, lambda event: None, companions=companions())
    with open(tmp_path / "out" / "region_means.csv", encoding="utf-8") as stream:
        rows = {(row["estimator"], row["map"]): row["information"] for row in csv.DictReader(stream)}
    assert all(0.5 < float(rows["posterior", key]) <= 1 for key in ("D", "f", "Dstar"))
    assert rows["posterior", "S0"] == "" and rows["adc", "ADC"] == ""


def test_progress_rises_to_one_and_tells_the_remaining_time(phantom_files, tmp_path):
    folder, _ = phantom_files
    events = []
    run(job_of(folder, tmp_path / "out"), events.append)
    progress = [event for event in events if event["event"] == "progress"]
    fractions = [event["fraction"] for event in progress]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0
    assert any(event["seconds_left"] is not None for event in progress)
    assert all(json.loads(json.dumps(event)) == event for event in events)


@pytest.mark.parametrize("after", (1, 2, 4, 6))
def test_a_stopped_job_leaves_nothing_and_a_second_run_works(phantom_files, tmp_path, after):
    folder, _ = phantom_files
    asked = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) >= after

    out = tmp_path / "out"
    with pytest.raises(Cancelled):
        run(job_of(folder, out), lambda event: None, stop)
    assert not out.exists()
    run(job_of(folder, out), lambda event: None)
    assert (out / "D.nii.gz").is_file()


def test_a_fault_while_writing_keeps_the_earlier_result(phantom_files, tmp_path):
    folder, _ = phantom_files
    out = tmp_path / "out"
    run(job_of(folder, out), lambda event: None)
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def breaks(*_):
        raise RuntimeError("power failure")

    with pytest.raises(RuntimeError):
        run(job_of(folder, out, estimators=(Request("segmented"),)), lambda event: None, companions=[breaks])
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_images_are_left_out_and_averaged_as_asked_and_said(phantom_files, tmp_path):
    folder, _ = phantom_files
    run(job_of(folder, tmp_path / "out", bmax=400.0, exclude=(2,)), lambda event: None)
    provenance = json.loads((tmp_path / "out" / "provenance.json").read_text("utf-8"))
    assert max(provenance["bvalues_used"]) == 400 and len(provenance["bvalues_used"]) == 10
    assert any("2 of 12 images left out by choice (b = 10, 600)" in said for said in provenance["decisions"])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"bmin": 5000.0}, "No image has a b-value between 5000"),
        ({"exclude": (13,)}, "images 1 to 12"),
        ({"average": "median"}, "Unknown averaging 'median'"),
        ({"file_format": "png"}, "Unknown file format"),
        ({"estimators": ()}, "No estimator"),
        ({"estimators": (Request("nlls"), Request("nlls"))}, "chosen twice"),
        ({"estimators": (Request("nlls"), Request("magic"))}, "Unknown estimator 'magic'"),
        ({"estimators": (Request("segmented", {"threshold": 5000}),)}, "threshold 5000"),
        ({"bmin": 250.0}, "needs at least 4 different b-values"),
        ({"bvalues": (0.0, 1.0)}, "12"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_nothing_is_written(phantom_files, tmp_path, changes, words):
    folder, _ = phantom_files
    with pytest.raises(InputError, match=re.escape(words)) as refusal:
        run(job_of(folder, tmp_path / "out", **changes), lambda event: None)
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "out").exists()


def test_a_job_survives_the_way_through_json():
    job = Job(inputs=("a.nii.gz",), out="out", estimators=(Request("segmented", {"threshold": 150.0}),), exclude=(1, 2))
    assert Job.from_json(job.to_json()) == job


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not valid JSON"),
        ("[]", "JSON object"),
        ('{"inputs": ["a"]}', "lacks out"),
        ('{"inputs": ["a"], "out": "o", "colour": 1}', "unknown entries (colour)"),
        ('{"inputs": ["a"], "out": "o", "estimators": [{"nom": "nlls"}]}', "wrong form"),
    ],
)
def test_a_wrong_job_file_is_refused_with_a_sentence(text, words):
    with pytest.raises(InputError, match=re.escape(words)):
        Job.from_json(text)
