"""Small synthetic DICOM series for the tests of the export: any orientation, any gap, classic, and its maps."""

from __future__ import annotations

import json

import numpy as np

from ivimcore.data.geometry_io import LPS_TO_RAS
from ivimcore.data.output import write_volume
from ivimcore.data.series import Geometry

B = (0.0, 50.0, 200.0, 800.0)
ORIENTATIONS = {
    "axial": (1, 0, 0, 0, 1, 0),
    "sagittal": (0, 1, 0, 0, 0, -1),
    "oblique": (0.96, 0.28, 0.0, -0.28 * 0.8, 0.96 * 0.8, 0.6),
}


def write_dicom_on(folder, geometry):
    """Write a classic series on a right-handed or left-handed grid (x, y, z)."""
    affine = LPS_TO_RAS @ geometry.affine
    spacing, origin = geometry.spacing, affine[:3, 3]
    row, column, normal = (affine[:3, axis] / spacing[axis] for axis in range(3))
    if np.cross(row, column) @ normal < 0:
        origin = origin + affine[:3, 1] * (geometry.shape[1] - 1)
        column = -column
    write_dicom(folder, (*row, *column), geometry.shape[::-1], tuple(spacing[::-1]), origin=origin)


def write_dicom(folder, orientation="oblique", size=(4, 6, 5), spacing=(4.0, 1.5, 2.0), thickness=3.0,
                origin=(-31.5, 12.25, 87.0), **tags):  # fmt: skip
    """Write a classic series (slices, rows, columns) with b-values `B`; return the grid (x, y, z) it is read on."""
    import pydicom
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

    folder.mkdir(parents=True, exist_ok=True)
    direction = np.array(ORIENTATIONS[orientation] if isinstance(orientation, str) else orientation, float)
    normal = np.cross(direction[:3], direction[3:])
    origin = np.array(origin)
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    for number, (b, place) in enumerate([(b, place) for b in B for place in range(size[0])], 1):
        image = Dataset()
        image.file_meta = FileMetaDataset()
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = MRImageStorage
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        image.PatientName, image.PatientID, image.PatientBirthDate, image.PatientSex = "Test^One", "T1", "19700101", "F"
        image.StudyInstanceUID, image.SeriesInstanceUID, image.FrameOfReferenceUID = study, series, frame
        image.StudyDate, image.StudyTime, image.StudyID, image.AccessionNumber = "20260101", "101010", "S1", "A1"
        image.ReferringPhysicianName, image.PositionReferenceIndicator = "", ""
        image.Modality, image.Manufacturer, image.SeriesNumber, image.InstanceNumber = "MR", "Test", 7, number
        image.SeriesDescription, image.ImageType = "ep2d_diff", ["ORIGINAL", "PRIMARY", "DIFFUSION"]
        image.BodyPartExamined, image.DiffusionBValue = "LIVER", b
        image.ImageOrientationPatient = [float(f"{x:.9g}") for x in direction]
        image.ImagePositionPatient = [float(f"{x:.9g}") for x in origin + normal * spacing[0] * place]
        image.PixelSpacing, image.SliceThickness = [float(x) for x in spacing[1:]], thickness
        image.Rows, image.Columns, image.SamplesPerPixel, image.PhotometricInterpretation = *size[1:], 1, "MONOCHROME2"
        image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 0
        image.PixelData = np.full(size[1:], int(1000 * np.exp(-b * 1e-3)), np.uint16).tobytes()
        for key, value in tags.items():
            if value is None:
                delattr(image, key)
            else:
                setattr(image, key, value)
        pydicom.dcmwrite(folder / f"{number:03d}.dcm", image, enforce_file_format=True)
    lps = np.eye(4)
    lps[:3, 0], lps[:3, 1], lps[:3, 2] = direction[:3] * spacing[2], direction[3:] * spacing[1], normal * spacing[0]
    lps[:3, 3] = origin
    # As dcm2niix: rows from the back to the front.
    flip = np.diag([1.0, -1.0, 1.0, 1.0])
    flip[1, 3] = size[1] - 1
    return Geometry((size[2], size[1], size[0]), LPS_TO_RAS @ lps @ flip)


def write_result(folder, geometry, estimator="nlls", bvalues=B, seed=1, **maps):
    """Write a result folder of `ivim map` with random maps on a grid, a corner of them without value."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    scales = {"D": 2e-3, "f": 0.3, "Dstar": 0.05, "S0": 900.0, "rmse": 20.0, "D_sd": 1e-4}
    made = {key: (scale * random.random(geometry.shape)).astype(np.float32) for key, scale in scales.items()}
    made.update(maps)
    for key, volume in made.items():
        volume[:2, :1] = np.nan
        write_volume(volume, geometry, folder / f"{key}.nii.gz")
    about = {"estimator": estimator, "bvalues_used": list(bvalues), "options": {}}
    (folder / "provenance.json").write_text(json.dumps(about))
    return made


def write_scanner_adc(folder, geometry, values, **tags):
    """Write a scanner's ADC map: single images, whole numbers in 10⁻⁶ mm²/s, no unit."""
    import pydicom

    write_dicom_on(folder, geometry)
    for path in sorted(folder.iterdir()):
        image = pydicom.dcmread(path)
        if image.DiffusionBValue != 0:
            path.unlink()
            continue
        place = np.linalg.inv(geometry.affine) @ (np.array([-1, -1, 1, 1]) * [*image.ImagePositionPatient, 1])
        k, flipped = int(np.rint(place[2])), np.rint(place[1]) > 0
        plane = np.rint(values[:, ::-1 if flipped else 1, k].T / 1e-6).astype(np.uint16)
        image.PixelData = np.ascontiguousarray(plane).tobytes()
        image.ImageType, image.SeriesDescription = ["DERIVED", "PRIMARY", "DIFFUSION", "ADC"], "ep2d_diff_ADC"
        for key, value in tags.items():
            setattr(image, key, value)
        image.save_as(path)


def values_by_position(positions, orientation, spacing, planes, geometry, volume):
    """Compare planes (slice, row, column) with a map (x, y, z), voxel by voxel by where they lie; return both."""
    rows, columns = planes.shape[1:]
    found, expected = [], []
    inverse = np.linalg.inv(LPS_TO_RAS @ geometry.affine)
    r, c = np.meshgrid(range(rows), range(columns), indexing="ij")
    for position, plane in zip(positions, planes, strict=True):
        points = (np.asarray(position, float)[:, None, None] + np.multiply.outer(orientation[:3], c * spacing[1])
                  + np.multiply.outer(orientation[3:], r * spacing[0]))  # fmt: skip
        index = inverse @ np.vstack([points.reshape(3, -1), np.ones((1, r.size))])
        whole = np.rint(index[:3]).astype(int)
        assert np.abs(index[:3] - whole).max() < 0.01
        found.append(plane.ravel())
        expected.append(volume[tuple(whole)])
    return np.concatenate(found), np.concatenate(expected)
