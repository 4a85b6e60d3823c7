"""Time of all four DICOM forms for a study of 40 slices: `python Testing/benchmarks/dicom.py`.

Prints wall and processor time of each form; on a busy machine only the second means something.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "core"))
from dicomseries import write_dicom, write_result  # noqa: E402

from ivimcore.data.output import write_labels  # noqa: E402
from ivimcore.reports.dicomexport import FORMS, export_dicom  # noqa: E402

SLICES, SIDE = 40, 128


def main() -> None:
    """Write a synthetic study and time each form and all together."""
    import SimpleITK

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        geometry = write_dicom(folder / "s", size=(SLICES, SIDE, SIDE), spacing=(4.0, 2.0, 2.0))
        write_result(folder / "r", geometry)
        SimpleITK.WriteImage(
            SimpleITK.GetImageFromArray(np.zeros((900, 1600, 3), np.uint8), isVector=True),
            str(folder / "r" / "overview.png"),
        )
        labels = np.zeros(geometry.shape, np.uint8)
        labels[30:60, 30:60, 10:30] = 1
        write_labels(labels, {1: "liver"}, geometry, folder / "rois.seg.nrrd")
        print(f"{SLICES} slices of {SIDE} x {SIDE}, 4 b-values, 6 maps")
        for forms in (*((form,) for form in FORMS), FORMS):
            wall, processor = time.perf_counter(), time.process_time()
            done = export_dicom(folder / "r", folder / "s", folder / f"out{len(forms)}{forms[0]}", forms,
                                rois=folder / "rois.seg.nrrd")  # fmt: skip
            wall, processor = time.perf_counter() - wall, time.process_time() - processor
            title = forms[0] if len(forms) == 1 else "all four"
            print(f"{title:<10}{len(done.files):>5} files {wall:7.1f} s wall {processor:7.1f} s processor")


if __name__ == "__main__":
    main()
