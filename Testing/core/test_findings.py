"""Maps with small findings: their truth, their places, their noise."""

from __future__ import annotations

import numpy as np
import pytest
from refusal import refused

from ivimcore.physics.findings import AROUND, BLOOD, KINDS, LESION_RATIO, finding_maps
from ivimcore.physics.fractal import fractal_maps


@pytest.fixture(scope="module")
def maps():
    return finding_maps(seed=3)


@pytest.fixture(scope="module")
def without():
    return fractal_maps((128, 128, 1), None, 3, AROUND, "brain16", lesions=0)


def test_every_kind_of_finding_is_there_alike_often(maps):
    counts = [sum(finding.kind == kind for finding in maps.findings) for kind in KINDS]
    assert min(counts) >= 5 and max(counts) - min(counts) <= 1


def test_a_lesion_has_twice_the_f_and_nothing_else_of_it_changes(maps, without):
    for finding in maps.findings:
        if finding.kind != "lesion":
            continue
        assert finding.inside.size == 9
        f, before = maps.truth["f"].ravel(), without.truth["f"].ravel()
        np.testing.assert_allclose(f[finding.inside], LESION_RATIO * before[finding.inside])
        for key in ("D", "Dstar", "S0"):
            np.testing.assert_array_equal(maps.truth[key].ravel()[finding.inside],
                                          without.truth[key].ravel()[finding.inside])  # fmt: skip


@pytest.mark.parametrize(("kind", "size"), [("voxel", 1), ("vessel", 7)])
def test_voxels_and_vessels_are_of_blood(maps, kind, size):
    for finding in maps.findings:
        if finding.kind == kind:
            assert finding.inside.size == size
            for key, value in BLOOD[kind].items():
                assert (maps.truth[key].ravel()[finding.inside] == value).all()


def test_what_is_near_a_finding_and_the_rest_are_tissue_as_before(maps, without):
    inside = np.concatenate([finding.inside for finding in maps.findings if finding.kind != "nothing"])
    outside = np.setdiff1d(np.arange(128 * 128), inside)
    for key in ("D", "f", "Dstar"):
        np.testing.assert_array_equal(maps.truth[key].ravel()[outside], without.truth[key].ravel()[outside])
    for finding in maps.findings:
        parts = np.concatenate([finding.inside, finding.near, finding.rest])
        assert parts.size == np.unique(parts).size == 81
        assert np.unique(without.tissue.ravel()[parts]).size == 1


def test_the_noise_is_that_of_the_snr(maps):
    clean = finding_maps(1e6, seed=3)
    noise = (maps.signal - clean.signal)[..., 0]  # at b = 0 the signal lies far above the noise floor
    assert noise.std() == pytest.approx(1 / 30, rel=0.03)
    assert maps.acquisition.sigma == pytest.approx(1 / 30)


@pytest.mark.parametrize("shape", [(16, 64, 1), (64, 64, 2), (64, 64)])
def test_a_shape_that_cannot_hold_findings_is_refused(shape):
    refused(lambda: finding_maps(shape=shape), "one slice of at least 32 x 32")
