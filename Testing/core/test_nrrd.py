"""NRRD series: b-values of DWI, sequence and multivolume headers, on files of the Slicer libraries and ours."""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest
from refusal import refused

from ivimcore.data.nifti_file import read_volumes
from ivimcore.data.nrrd import LARGEST_HEADER, read_header, read_nrrd, read_nrrd_file
from ivimcore.data.raw_nrrd import NAMES, read_raw, write_raw
from ivimcore.data.series import Geometry

B = [0, 10, 50, 10, 200, 400, 600, 800]

# Runs in a process of its own: the Slicer libraries keep global state, and their import takes a second.
SLICER_WRITES = """
import sys
import numpy as np, vtk, slicer
from vtk.util.numpy_support import numpy_to_vtk
out, B = sys.argv[1], [0, 10, 50, 10, 200, 400, 600, 800]
scene = slicer.vtkMRMLScene(); slicer.mrmlScene = scene
app = slicer.vtkSlicerApplicationLogic(); app.SetMRMLScene(scene)
logics = []
for name in ("vtkSlicerVolumesLogic", "vtkSlicerSequencesLogic"):
    logics.append(getattr(slicer, name)()); logics[-1].SetMRMLApplicationLogic(app); logics[-1].SetMRMLScene(scene)
signal, affine = np.load(out + "/signal.npy"), np.load(out + "/affine.npy")
def fill(node, array):
    image = vtk.vtkImageData(); image.SetDimensions(*array.shape[:3][::-1])
    count = array.shape[3] if array.ndim == 4 else 1
    scalars = numpy_to_vtk(array.reshape(-1, count) if count > 1 else array.ravel(), deep=True)
    scalars.SetNumberOfComponents(count); image.GetPointData().SetScalars(scalars); node.SetAndObserveImageData(image)
    matrix = vtk.vtkMatrix4x4()
    for i in range(4):
        for j in range(4): matrix.SetElement(i, j, affine[i, j])
    node.SetIJKToRASMatrix(matrix)
def save(node, storage, name):
    store = scene.AddNewNodeByClass(storage); store.SetFileName(out + "/" + name); assert store.WriteData(node), name
def sequence(name, attribute=False, index=("frame", ""), values=range(8), attributes={}):
    node = scene.AddNewNodeByClass("vtkMRMLSequenceNode"); node.SetIndexName(index[0]); node.SetIndexUnit(index[1])
    for i, b in enumerate(B):
        volume = slicer.vtkMRMLScalarVolumeNode(); fill(volume, np.ascontiguousarray(signal[..., i]))
        if attribute: volume.SetAttribute("DWMRI_b-value", str(b))
        node.SetDataNodeAtValue(volume, str(values[i]))
    for key, value in attributes.items(): node.SetAttribute(key, value)
    save(node, "vtkMRMLVolumeSequenceStorageNode", name)
dwi = scene.AddNewNodeByClass("vtkMRMLDiffusionWeightedVolumeNode"); fill(dwi, signal); dwi.SetNumberOfGradients(8)
for i, b in enumerate(B):
    dwi.SetBValue(i, b); dwi.SetDiffusionGradient(i, [0, 0, 0] if b == 0 else [0, .6, .8])
save(dwi, "vtkMRMLNRRDStorageNode", "dwi.nrrd")
for i in range(8): dwi.SetDiffusionGradient(i, [0, 0, 0])
save(dwi, "vtkMRMLNRRDStorageNode", "trace.nrrd")
labels = ",".join(str(float(b)) for b in B)
def tags(name, unit):
    return {"MultiVolume.FrameLabels": labels, "MultiVolume.FrameIdentifyingDICOMTagName": name,
            "MultiVolume.FrameIdentifyingDICOMTagUnits": unit}
sequence("attribute.seq.nrrd", attribute=True)
sequence("labels.seq.nrrd", index=("", ""), attributes=tags("Siemens.B-value", "sec/mm2"))
sequence("time.seq.nrrd", index=("", ""), attributes=tags("AcquisitionTime", "ms"))
sequence("index.seq.nrrd", index=("b-value", "s/mm2"), values=[0, 10, 50, 100, 200, 400, 600, 800])
sequence("plain.seq.nrrd", index=("time", "s"))
"""


@pytest.fixture(scope="module")
def slicer_files(tmp_path_factory, oblique):
    """A folder of files written by the real Slicer libraries, with the signal (x, y, z, n) that they hold."""
    if importlib.util.find_spec("slicer") is None:
        pytest.skip("the Slicer libraries (pip install slicer-core) are not installed")
    folder = tmp_path_factory.mktemp("slicer")
    signal = np.random.default_rng(1).integers(0, 1000, (*oblique.shape[::-1], 8)).astype(np.int16)
    np.save(folder / "signal.npy", signal)
    np.save(folder / "affine.npy", oblique.affine)
    done = subprocess.run([sys.executable, "-c", SLICER_WRITES, str(folder)], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    return folder, signal.transpose(2, 1, 0, 3)


@pytest.mark.parametrize(("name", "kind", "source"), [
    ("attribute.seq.nrrd", "sequence NRRD", "attribute 'DWMRI_b-value'"),
    ("labels.seq.nrrd", "sequence NRRD", "MultiVolume.FrameLabels"),
    ("dwi.nrrd", "DWI NRRD", "gradient lengths"),
])
def test_files_of_slicer_have_bvalues_voxels_and_geometry(slicer_files, oblique, name, kind, source):
    folder, signal = slicer_files
    series = read_nrrd(folder / name)
    assert series.acquisition.bvalues.tolist() == B
    assert series.format == kind and source in series.bvalue_source
    assert np.array_equal(series.signal, signal) and series.signal.dtype == np.int16
    assert series.geometry.matches(oblique, 1e-6)


def test_sequence_index_counts_where_its_name_says_b(slicer_files):
    series = read_nrrd(slicer_files[0] / "index.seq.nrrd")
    assert series.acquisition.bvalues.tolist() == [0, 10, 50, 100, 200, 400, 600, 800]
    assert "index" in series.bvalue_source


def test_directions_of_a_dwi_node_are_kept_in_ras(slicer_files):
    directions = read_nrrd(slicer_files[0] / "dwi.nrrd").acquisition.directions
    assert np.allclose(directions[0], 0) and np.allclose(directions[1:], [0, 0.6, 0.8])


def test_frames_without_bvalues_are_refused_and_repaired_by_the_user(slicer_files):
    folder, _ = slicer_files
    refused(lambda: read_nrrd(folder / "trace.nrrd"), "trace", "--bval")
    refused(lambda: read_nrrd(folder / "time.seq.nrrd"), "AcquisitionTime", "--bval")
    refused(lambda: read_nrrd(folder / "plain.seq.nrrd"), "plain.bval", "--bval")
    for name in ("trace.nrrd", "time.seq.nrrd", "plain.seq.nrrd"):
        assert read_nrrd(folder / name, bvalues=B).acquisition.bvalues.tolist() == B


def test_given_bvalues_win_over_those_of_the_header(slicer_files):
    series = read_nrrd(slicer_files[0] / "attribute.seq.nrrd", bvalues=[0, 1, 2, 3, 4, 5, 6, 100])
    assert series.acquisition.bvalues[-1] == 100
    assert "user" in series.bvalue_source and "instead of" in series.decisions[0]


def test_real_multishell_dwi_has_fifteen_shells(shared_data):
    series = read_nrrd(shared_data / "slicer_dwi_nrrd_multishell/multishell-DWI-451dir.nhdr")
    b, counts = np.unique(series.acquisition.bvalues, return_counts=True)
    assert b.tolist() == [0, 250, 500, 750, 1000, 1500, *range(2000, 3001, 500), *range(4000, 10001, 1000)]
    assert counts.tolist() == [1] + [30] * 15
    means = [series.signal[..., series.acquisition.bvalues == value].mean() for value in b]
    assert np.all(np.diff(means) < 0) and abs(means[0] - 148) < 1 and abs(means[-1] - 40) < 1


def test_real_multivolume_has_the_labels_of_its_header(shared_data):
    series = read_nrrd(shared_data / "slicer_multivolume_nrrd_prostate_15b/00943_SER18.nrrd")
    assert series.signal.shape == (15, 21, 1, 15)
    assert series.acquisition.bvalues.tolist() == list(range(0, 3501, 250))
    assert series.format == "MultiVolume NRRD" and "GE.B-value" in series.bvalue_source
    assert np.allclose(np.asarray(series.geometry.affine)[:3, 3], [136.878006, 125.447998, -49.329201])


def write_nrrd(path, pairs, shape=(2, 3, 4, 5), kinds="domain domain domain list", extra=""):
    """Write a raw NRRD of int16, the images on the last axis; returns the signal."""
    signal = np.arange(np.prod(shape), dtype="<i2").reshape(shape, order="F")
    header = (
        f"NRRD0005\ntype: short\ndimension: 4\nspace: left-posterior-superior\nsizes: {' '.join(map(str, shape))}\n"
        f"space directions: (2,0,0) (0,2,0) (0,0,3) none\nkinds: {kinds}\nendian: little\nencoding: raw\n"
        f"space origin: (1,2,3)\n{extra}" + "".join(f"{key}:={value}\n" for key, value in pairs.items()) + "\n"
    )
    path.write_bytes(header.encode() + signal.tobytes(order="F"))
    return signal


def test_plain_4d_file_takes_the_bval_beside_it(tmp_path):
    signal = write_nrrd(tmp_path / "x.nrrd", {})
    refused(lambda: read_nrrd(tmp_path / "x.nrrd"), "x.bval", "--bval")
    (tmp_path / "x.bval").write_text("0 10 20 30 400")
    series = read_nrrd(tmp_path / "x.nrrd")
    assert np.array_equal(series.signal, signal) and series.bvalue_source == "x.bval"


@pytest.mark.parametrize(("pairs", "parts"), [
    ({f"axis 3 item 000{i} DWMRI_b-value": i * 100 for i in range(4)}, ["5 images", "4 of them"]),
    ({f"axis 3 item 000{i} DWMRI_b-value": "much" for i in range(5)}, ["not a list of numbers"]),
    ({"MultiVolume.FrameLabels": "0,10", "MultiVolume.FrameIdentifyingDICOMTagName": "GE.B-value"},
     ["2 b-values", "5 images"]),
    ({"MultiVolume.FrameLabels": "0,1,2,3,4"}, ["nothing"]),
    ({"modality": "DWMRI", "DWMRI_b-value": 900, "DWMRI_gradient_0000": "0 0 0"}, ["5 images", "1 of them"]),
    ({"modality": "DWMRI", "DWMRI_b-value": "nan", **{f"DWMRI_gradient_000{i}": "1 0 0" for i in range(5)}},
     ["numbers"]),
    ({"modality": "DWMRI", "DWMRI_b-value": 900, "DWMRI_gradient_0009": "1 0 0"}, ["DWMRI_gradient_0009"]),
])
def test_damaged_headers_are_refused(tmp_path, pairs, parts):
    write_nrrd(tmp_path / "x.nrrd", pairs)
    refused(lambda: read_nrrd(tmp_path / "x.nrrd"), *parts)


def test_repeated_gradients_and_the_measurement_frame_are_understood(tmp_path):
    pairs = {"modality": "DWMRI", "DWMRI_b-value": 800, "DWMRI_gradient_0000": "0 0 0", "DWMRI_gradient_0001": "0 0 .5",
             "DWMRI_NEX_0001": 2, "DWMRI_gradient_0003": "1 0 0", "DWMRI_gradient_0004": "0 1 0"}
    write_nrrd(tmp_path / "x.nrrd", pairs, extra="measurement frame: (0,1,0) (1,0,0) (0,0,1)\n")
    acquisition = read_nrrd(tmp_path / "x.nrrd").acquisition
    assert acquisition.bvalues.tolist() == [0, 200, 200, 800, 800]
    # The first axis of the gradients is the second of LPS, which points against that of RAS.
    assert np.allclose(acquisition.directions[3:], [[0, -1, 0], [-1, 0, 0]])


def test_truncated_missing_and_endless_files_are_refused(tmp_path):
    write_nrrd(tmp_path / "x.nrrd", {})
    content = (tmp_path / "x.nrrd").read_bytes()
    (tmp_path / "cut.nrrd").write_bytes(content[:-20])
    refused(lambda: read_nrrd(tmp_path / "cut.nrrd"), "cut.nrrd")
    refused(lambda: read_nrrd(tmp_path / "absent.nrrd"), "does not exist")
    (tmp_path / "text.nrrd").write_text("hello")
    refused(lambda: read_nrrd(tmp_path / "text.nrrd"), "not a NRRD file")
    (tmp_path / "x.nhdr").write_bytes(content[: content.index(b"\n\n")] + b"\ndata file: gone.raw\n")
    refused(lambda: read_nrrd(tmp_path / "x.nhdr"), "cannot be read")
    (tmp_path / "endless.nrrd").write_bytes(b"NRRD0005\n" + b"a" * (LARGEST_HEADER + 10))
    refused(lambda: read_header(tmp_path / "endless.nrrd"), "does not end")


def test_raw_files_of_ours_are_read_alike_with_and_without_simpleitk(tmp_path):
    affine = np.array([[-1.5, 0.1, 0.0, 80.0], [0.1, -1.5, 0.2, 90.25], [0.0, 0.2, 4.0, -30.0], [0.0, 0.0, 0.0, 1.0]])
    affine[:3, :3] = np.linalg.qr(affine[:3, :3])[0] * (1.5, 1.5, 4.0)
    geometry = Geometry((3, 4, 5), affine)
    for dtype in NAMES:
        image = (np.arange(60).reshape(3, 4, 5) % 100).astype(dtype)
        path = write_raw(tmp_path / f"{dtype}.nrrd", image, geometry)
        header = read_header(path)
        ours, grid = read_raw(path, header.fields, header.vectors("space directions"))
        theirs, other = read_volumes(path)
        np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_array_equal(ours[..., 0], image)
        assert ours.dtype == theirs.dtype and grid.matches(other) and grid.matches(geometry)
    path.write_bytes(path.read_bytes()[:-5])
    refused(lambda: read_nrrd_file(path, header), "shorter")


def test_other_files_are_left_to_simpleitk(tmp_path):
    path = write_raw(tmp_path / "ours.nrrd", np.zeros((2, 2, 2), np.float32), Geometry((2, 2, 2), np.eye(4)))
    fields = read_header(path).fields
    directions = read_header(path).vectors("space directions")
    for change in (
        {"encoding": "gzip"}, {"space": "left-posterior-superior"}, {"data file": "x.raw"}, {"endian": "middle"},
        {"kinds": "list domain domain"}, {"space origin": "(0,0)"}, {"space origin": "(0,0,x)"}, {"sizes": "2 2 -2"},
        {"type": "block"},
    ):
        assert read_raw(path, fields | change, directions) is None
    assert read_raw(path, fields, directions[:2]) is None and read_raw(path, fields, [None, *directions[1:]]) is None
