"""The reader is picked from what is given; masks and labels must lie on the grid of the series."""

import numpy as np
import pytest
from refusal import refused

from ivimcore.data.geometry_io import image_of
from ivimcore.data.output import write_volume
from ivimcore.data.reading import read_labels, read_mask, read_series
from ivimcore.data.series import Geometry


@pytest.mark.parametrize(("name", "kind", "count"), [
    ("prostate_ivim_3T/ivim13b.nii.gz", "NIfTI", 13),
    ("slicer_dwi_nrrd_multishell/multishell-DWI-451dir.nhdr", "DWI NRRD", 451),
    ("slicer_multivolume_nrrd_prostate_15b/00943_SER18.nrrd", "MultiVolume NRRD", 15),
])
def test_reader_follows_the_ending(shared_data, name, kind, count):
    series = read_series(shared_data / name)
    assert series.format == kind and series.acquisition.count == count


def test_folders_and_dicom_files_go_to_the_dicom_reader(shared_data):
    pytest.importorskip("dcm2niix", reason="dcm2niix is not installed")
    ge = shared_data / "dicom_ge_header_only_b0_b1000"
    assert read_series(ge).format == "DICOM"
    files = sorted((ge / "01_Ax_DWI_TENSOR_R2").iterdir())
    assert read_series(files).acquisition.count == 7


def test_several_files_are_one_series(tmp_path, signal, oblique):
    paths = [write_volume(signal[..., i], oblique, tmp_path / f"{i}.nrrd") for i in range(4)]
    series = read_series(paths, bvalues=[0, 10, 100, 800])
    assert np.array_equal(series.signal, signal)
    (tmp_path / "all.txt").write_text("0 20 200 700")
    assert read_series(paths, bval=tmp_path / "all.txt").acquisition.bvalues.tolist() == [0, 20, 200, 700]


def test_inputs_that_are_no_series_are_refused(tmp_path, shared_data):
    refused(lambda: read_series([]), "no input")
    refused(lambda: read_series(tmp_path / "absent.nii"), "absent.nii", "does not exist")
    (tmp_path / "x.txt").write_text("hello")
    refused(lambda: read_series(tmp_path / "x.txt"), "no known format")
    nifti = shared_data / "prostate_ivim_3T/ivim13b.nii.gz"
    refused(lambda: read_series(nifti, series=3), "--series")
    refused(lambda: read_series([nifti, tmp_path]), "together")
    refused(lambda: read_series(nifti, bval=tmp_path / "absent.bval"), "absent.bval", "does not exist")


@pytest.fixture
def regions():
    labels = np.zeros((7, 6, 5), np.uint8)
    labels[1:3, 2:4, 1:4], labels[5, 5, 0] = 2, 7
    return labels


def test_label_images_of_every_type_are_read(tmp_path, oblique, regions):
    for number, dtype in enumerate((np.uint8, np.int16, np.float32, np.float64)):
        path = write_volume(regions.astype(dtype), oblique, tmp_path / f"{number}.nii.gz")
        labels, names = read_labels(path, oblique)
        assert labels.dtype.kind == "i" and np.array_equal(labels, regions)
        assert names == {2: "label 2", 7: "label 7"}
        assert np.array_equal(read_mask(path, oblique), regions > 0)


def test_real_regions_fit_their_series(shared_data):
    for folder, series, region, voxels in [
        ("prostate_ivim_3T", "ivim13b.nii.gz", "pz_roi.nii.gz", None),
        ("spinal_cord_ivim_7T_rl", "dwi_rl.nii.gz", "cord_seg_dilated.nii.gz", 2523),
        ("abdomen_ivim_3volunteers", "volunteer1_T70_bipolar_trace.nii.gz", "volunteer1_rois.nii.gz", None),
    ]:
        geometry = read_series(shared_data / folder / series).geometry
        mask = read_mask(shared_data / folder / region, geometry)
        assert mask.any() and (voxels is None or mask.sum() == voxels)


def test_another_grid_is_refused_with_both_grids_described(tmp_path, oblique, regions):
    moved = np.array(oblique.affine)
    moved[0, 3] += 1.0
    path = write_volume(regions, Geometry(oblique.shape, moved), tmp_path / "moved.nrrd")
    refused(lambda: read_mask(path, oblique), "first voxel at (-31.5", "first voxel at (-30.5")
    path = write_volume(regions[:6], Geometry((6, 6, 5), oblique.affine), tmp_path / "small.nrrd")
    refused(lambda: read_labels(path, oblique), "6 x 6 x 5", "7 x 6 x 5")


def test_masks_that_are_no_masks_are_refused(tmp_path, oblique, regions, write_series, signal):
    path = write_volume(regions * 0, oblique, tmp_path / "empty.nii.gz")
    refused(lambda: read_mask(path, oblique), "empty")
    path = write_volume(regions * np.float32(0.5), oblique, tmp_path / "half.nii.gz")
    refused(lambda: read_mask(path, oblique), "fractions")
    path = write_volume(np.where(regions > 0, np.nan, 0).astype(np.float32), oblique, tmp_path / "nan.nii.gz")
    refused(lambda: read_mask(path, oblique), "NaN")
    path = write_volume(-regions.astype(np.int16), oblique, tmp_path / "negative.nii.gz")
    refused(lambda: read_labels(path, oblique), "outside 0")
    refused(lambda: read_mask(write_series(tmp_path / "four.nii.gz", signal), oblique), "4 images")
    refused(lambda: read_mask(tmp_path / "absent.nii", oblique), "does not exist")


def segmentation(path, layers, geometry, segments):
    """Write a .seg.nrrd as Slicer does; `segments` are (layer, value, name)."""
    import SimpleITK

    images = [image_of(layer, geometry) for layer in layers]
    image = images[0] if len(images) == 1 else SimpleITK.Compose(images)
    for number, (layer, value, name) in enumerate(segments):
        for key, text in (("ID", f"s{number}"), ("Name", name), ("LabelValue", value), ("Layer", layer)):
            image.SetMetaData(f"Segment{number}_{key}", str(text))
    SimpleITK.WriteImage(image, str(path))
    return path


def test_names_of_slicer_segments_are_read(tmp_path, oblique, regions):
    segments = [(0, 7, "liver"), (0, 2, "spleen: left"), (0, 3, "none")]
    path = segmentation(tmp_path / "x.seg.nrrd", [regions], oblique, segments)
    labels, names = read_labels(path, oblique)
    assert np.array_equal(labels, regions) and names == {2: "spleen: left", 7: "liver"}


def test_overlapping_layers_are_merged_and_the_last_segment_wins(tmp_path, oblique, regions):
    second = np.zeros_like(regions)
    second[2:, :, 1:4] = 2
    segments = [(0, 2, "organ"), (0, 7, "spot"), (1, 2, "lesion")]
    path = segmentation(tmp_path / "x.seg.nrrd", [regions, second], oblique, segments)
    labels, names = read_labels(path, oblique)
    assert names == {1: "organ", 2: "spot", 3: "lesion"}
    assert np.array_equal(labels == 3, second == 2)
    assert np.array_equal(labels == 1, (regions == 2) & (second == 0))


def test_segment_of_an_absent_layer_is_refused(tmp_path, oblique, regions):
    path = segmentation(tmp_path / "x.seg.nrrd", [regions], oblique, [(3, 1, "lost")])
    refused(lambda: read_labels(path, oblique), "layer 4")
    path = segmentation(tmp_path / "y.seg.nrrd", [regions], oblique, [(0, "one", "odd")])
    refused(lambda: read_labels(path, oblique), "label value")
