"""What the tests of follow-up share: a phantom patient scanned at several dates, with a metastasis that changes."""

from dataclasses import replace

import numpy as np

from ivimcore import Acquisition
from ivimcore.physics import phantom as phantoms
from ivimcore.reports.referencecohort import ReferenceCohort, entry_of
from ivimcore.reports.repeatability import analyse
from IVIMMappingLib.PhantomSample import addPhantom

BVALUES = (0, 10, 20, 40, 80, 200, 400, 800)
SHAPE = (32, 32, 2)
LESION = "liver metastasis"
GROWTH = 1.4
"""Factor of D in the metastasis between the dates."""


def patient(scene, applicationLogic, name, growth=1.0, seed=1, bvalues=BVALUES, shape=SHAPE, snr=60.0):
    """Add one examination; returns sequence, volume that shows it, segmentation."""
    tissues = tuple(
        replace(tissue, D=tissue.D * growth) if tissue.name == LESION else tissue for tissue in phantoms.ABDOMEN
    )
    made = phantoms.abdomen(
        tissues, shape=shape, protocol=Acquisition(bvalues), snr=snr, variation=0.0, seed=seed
    )
    return addPhantom(scene, applicationLogic, made, name)


def cohort(run=None, subjects=20, region=LESION, estimator="segmented", spread=0.04, **changes):
    """Return a reference cohort of so many subjects with a relative spread of D and f, fitted as `run` was."""
    random = np.random.default_rng(3)
    entries = []
    for key, typical in (("D", 1.2e-3), ("f", 0.1)):
        level = typical * np.exp(0.5 * random.normal(size=(subjects, 1)))
        values = level * np.exp(spread * random.normal(size=(subjects, 2)))
        entries.append(entry_of(region, key, analyse(values)))
    about = run.provenance if run is not None else {}
    return ReferenceCohort(**{
        "name": "our hospital", "estimator": run.estimator if run is not None else estimator,
        "options": about.get("options", {}), "prior": {}, "bvalues": tuple(about.get("bvalues_used", BVALUES)),
        "statistic": "median", "entries": tuple(entries), **changes,
    })
