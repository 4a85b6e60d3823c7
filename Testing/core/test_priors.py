"""Priors are learned, kept in files, shown, and used again; rare tissue survives them."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import pytest

from ivimcore import Acquisition, Cancelled, InputError, create
from ivimcore.estimators import priors
from ivimcore.estimators.grid import KEYS, make_grid
from ivimcore.estimators.learning import neighbour_priors, window_sum
from ivimcore.physics.noise import add_rician
from ivimcore.physics.presets import broad_bounds
from ivimcore.physics.signal import biexponential

B = np.array([0, 10, 20, 40, 80, 110, 140, 170, 200, 300, 400, 500, 600, 700, 800, 900], dtype=float)
BOUNDS = {"D": (0.3e-3, 2e-3), "f": (0.0, 0.4), "Dstar": (5e-3, 0.1)}


def grid(bounds=BOUNDS):
    return make_grid(B, np.ones(B.size), bounds)


def halves(snr=40, shape=(24, 24, 1), seed=0):
    """Two tissues side by side; returns signal, acquisition and truth."""
    left = np.arange(shape[0])[:, None, None] < shape[0] // 2
    truth = {key: np.broadcast_to(np.where(left, *pair), shape) for key, pair in
             {"D": (0.7e-3, 1.2e-3), "f": (0.08, 0.2), "Dstar": (15e-3, 40e-3)}.items()}  # fmt: skip
    signal = biexponential(B, np.full(shape, 100.0), *(truth[key] for key in KEYS))
    return add_rician(signal, 100 / snr, np.random.default_rng(seed)), Acquisition(B, sigma=100 / snr), truth


@pytest.mark.parametrize("make", [priors.uniform, priors.log_uniform, lambda g: priors.of_organ("brain", g)])
def test_every_prior_sums_to_one_and_has_moments_inside_its_bounds(make):
    prior = make(grid())
    assert prior.mass.sum() == pytest.approx(1) and (prior.mass > 0).all()
    for key, (mean, sd) in prior.moments().items():
        assert BOUNDS[key][0] < mean < BOUNDS[key][1] and 0 < sd < np.ptp(BOUNDS[key])


def test_the_uniform_prior_has_the_moments_of_a_uniform_distribution():
    for key, (mean, sd) in priors.uniform(grid()).moments().items():
        low, high = BOUNDS[key]
        assert mean == pytest.approx((low + high) / 2, rel=5e-3)
        assert sd == pytest.approx((high - low) / 12**0.5, rel=2e-2)


def test_the_prior_of_an_organ_expects_its_typical_values_and_needs_an_organ():
    prior = priors.of_organ("liver", grid(broad_bounds()))
    share = prior.marginal("D") / np.diff(prior.edges[0])
    assert prior.nodes("D")[share.argmax()] == pytest.approx(1.09e-3, rel=0.3)
    with pytest.raises(InputError, match="set option 'organ'"):
        priors.of_organ("none", grid())


def test_a_saved_prior_comes_back_with_its_checksum(tmp_path):
    signal, acquisition, _ = halves()
    prior = create("posterior", bounds=BOUNDS, rounds=10).learn(signal, acquisition)
    prior.save(tmp_path / "prior.npz")
    again = priors.load_prior(tmp_path / "prior.npz")
    assert again.checksum == prior.checksum and again.about == prior.about and again.kind == "learned"
    assert not list(tmp_path.glob("*.part"))
    np.testing.assert_array_equal(again.mass, prior.mass)


def test_learning_reports_its_progress_and_stops_when_asked():
    signal, acquisition, _ = halves()
    estimator, seen = create("posterior", bounds=BOUNDS, rounds=10), []
    estimator.learn(signal, acquisition, progress=lambda done, total: seen.append(done / total) or True)
    assert seen == sorted(seen) and seen[-1] == 1 and len(seen) == 10
    with pytest.raises(Cancelled):
        estimator.learn(signal, acquisition, progress=lambda done, total: done < total / 2)


def test_a_prior_from_a_file_gives_what_learning_it_here_gives(tmp_path):
    signal, acquisition, _ = halves()
    learned = create("posterior", prior="learned", bounds=BOUNDS, rounds=10)
    here = learned.fit(signal, acquisition)
    learned.learn(signal, acquisition).save(tmp_path / "prior.npz")
    there = create("posterior", prior="file", prior_file=tmp_path / "prior.npz", bounds=BOUNDS).fit(signal, acquisition)
    for key in KEYS:
        np.testing.assert_allclose(there.maps[key], here.maps[key], rtol=1e-5)
    assert there.provenance["prior"]["file_checksum"] == here.provenance["prior"]["checksum"]


def test_a_prior_of_another_protocol_organ_and_grid_is_allowed_and_said(tmp_path):
    signal, acquisition, truth = halves()
    create("posterior", bounds=BOUNDS, rounds=10).learn(signal, acquisition).save(tmp_path / "p.npz")
    other = Acquisition(B[::2], sigma=acquisition.sigma)
    result = create("posterior", prior="file", prior_file=str(tmp_path / "p.npz"), organ="brain").fit(
        signal[..., ::2], other
    )
    said = " ".join(result.provenance["warnings"])
    for words in ("other b-values", "learned for organ 'none'", "other bounds"):
        assert words in said
    assert np.median(np.abs(result.maps["D"] / truth["D"] - 1)) < 0.08


def test_a_prior_outside_the_bounds_is_refused(tmp_path):
    narrow = {"D": (0.3e-3, 0.4e-3), "f": (0.0, 0.1), "Dstar": (5e-3, 6e-3)}
    priors.uniform(grid(narrow)).save(tmp_path / "p.npz")
    signal, acquisition, _ = halves(shape=(8, 8, 1))
    far = create("posterior", prior="file", prior_file=str(tmp_path / "p.npz"), bounds={"Dstar": (0.05, 0.1)})
    with pytest.raises(InputError, match="widen the bounds"):
        far.fit(signal, acquisition)


def packed(**changes):
    """Bytes of a prior file, with some entries changed or (None) left out."""
    prior = priors.uniform(grid())
    about = {"format": priors.FORMAT, "kind": "uniform", "about": {}, "checksum": prior.checksum}
    content = {"json": json.dumps(about).encode(), "mass": prior.mass, **dict(zip(KEYS, prior.edges, strict=True))}
    content |= changes
    if content["json"] is not None:
        content["json"] = np.frombuffer(content["json"], dtype=np.uint8)
    stream = io.BytesIO()
    np.savez(stream, **{key: value for key, value in content.items() if value is not None})
    return stream.getvalue()


def bomb():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mass.npy", bytes(priors.LARGEST_FILE + 1))
    return stream.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"", b"not a prior", packed()[:900], packed(json=None), packed(mass=None), packed(json=b"[1]"),
        packed(json=b"{"), packed(json=b'{"format": "other"}'), packed(mass=np.ones((2, 2, 2))),
        packed(mass=np.full(priors.uniform(grid()).mass.shape, np.nan)), packed(mass=np.array([{}], dtype=object)),
        packed(D=np.array([2.0, 1.0])), bomb(),
    ],
    ids=["empty", "text", "cut", "no json", "no mass", "json list", "broken json", "format", "shape", "nan", "pickle",
         "edges", "bomb"],
)  # fmt: skip
def test_a_malformed_prior_file_is_refused_in_one_sentence(tmp_path, content):
    path = tmp_path / "bad.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match="bad.npz cannot be used") as refusal:
        priors.load_prior(path)
    assert "\n" not in str(refusal.value)


def test_a_missing_prior_file_is_named(tmp_path):
    with pytest.raises(InputError, match="There is no prior file"):
        priors.load_prior(tmp_path / "none.npz")


def test_changed_numbers_are_noticed(tmp_path):
    mass = priors.uniform(grid()).mass.copy()
    mass[0, 0, 0], mass[1, 1, 1] = mass[1, 1, 1], mass[0, 0, 0]
    (tmp_path / "p.npz").write_bytes(packed(mass=mass))
    with pytest.raises(InputError, match="checksum"):
        priors.load_prior(tmp_path / "p.npz")


def test_learning_raises_the_evidence_and_finds_two_tissues():
    signal, acquisition, truth = halves()
    prior = create("posterior", bounds=BOUNDS, rounds=50).learn(signal, acquisition)
    first, last = prior.about["log_evidence"]
    assert last > first + 0.5
    mean, sd = prior.moments()["D"]
    assert mean == pytest.approx(truth["D"].mean(), rel=0.05)
    assert sd == pytest.approx(truth["D"].std(), rel=0.25)


def test_ten_voxels_teach_no_prior_and_this_is_said():
    signal, acquisition, _ = halves()
    mask = np.zeros(signal.shape[:3], dtype=bool)
    mask[:5, :2] = True
    for prior in ("learned", "learned_local"):
        result = create("posterior", prior=prior).fit(signal, acquisition, mask)
        assert any("No prior can be learned from 10 voxels of tissue" in said for said in result.provenance["warnings"])
        assert result.provenance["prior"]["kind"] == "log_uniform"
    with pytest.raises(InputError, match="10 voxels"):
        create("posterior").learn(signal, acquisition, mask)


def test_a_list_of_voxels_without_neighbours_is_fitted_with_the_broad_prior_and_this_is_said():
    signal, acquisition, _ = halves()
    column = signal.reshape(-1, 1, 1, B.size)
    local, broad = (create("posterior", prior=p).fit(column, acquisition) for p in ("learned_local", "log_uniform"))
    assert any("hardly any neighbours" in said for said in local.provenance["warnings"])
    np.testing.assert_array_equal(local.maps["Dstar"], broad.maps["Dstar"])


def test_neighbours_lower_the_error_and_keep_the_edge():
    signal, acquisition, truth = halves(snr=30)
    local, broad = (create("posterior", prior=p).fit(signal, acquisition) for p in ("learned_local", "log_uniform"))
    for key in KEYS:
        one, two = (np.median(np.abs(result.maps[key] / truth[key] - 1)) for result in (local, broad))
        assert one < 0.9 * two, key
    beside = local.maps["D"][10:14].mean(axis=(1, 2))
    np.testing.assert_allclose(beside, truth["D"][10:14].mean(axis=(1, 2)), rtol=0.08)


def test_a_voxel_does_not_teach_its_own_prior():
    rng = np.random.default_rng(0)
    broad = np.full(12, 1 / 12)
    posterior = rng.dirichlet(np.ones(12), (7, 6, 1)).astype(np.float32)
    changed = posterior.copy()
    changed[3, 3, 0] = np.eye(12)[5]
    there = np.ones((7, 6, 1), dtype=bool)
    one, two = (
        neighbour_priors(each.reshape(-1, 12), there, broad, (1, 1, 0), 1, 0.02, there).reshape(7, 6, 1, 12)
        for each in (posterior, changed)
    )
    np.testing.assert_allclose(one[3, 3, 0], two[3, 3, 0], rtol=1e-5)
    assert not np.allclose(one[3, 2, 0], two[3, 2, 0], rtol=1e-2)
    np.testing.assert_allclose((one * broad).sum(axis=-1), 1, rtol=1e-5)
    mean = (window_sum(posterior, (1, 1, 0))[3, 3, 0] - posterior[3, 3, 0]) / 8
    np.testing.assert_allclose(one[3, 3, 0], 0.98 * mean / broad + 0.02, rtol=1e-4)


def test_the_tiles_do_not_show(monkeypatch):
    from ivimcore.estimators import posterior_fit

    signal, acquisition, _ = halves()
    whole = create("posterior").fit(signal, acquisition)
    monkeypatch.setattr(posterior_fit, "TILE_BYTES", 1)
    parts = create("posterior").fit(signal, acquisition)
    for key in KEYS:
        np.testing.assert_allclose(parts.maps[key], whole.maps[key], rtol=2e-3)


@pytest.mark.parametrize("prior", ["log_uniform", "organ"])
def test_maps_follow_a_slow_change_of_the_signal_without_jumps(prior):
    """In steps of a hundredth of a standard deviation, by posteriors that the grid does not resolve: what jumps there
    jumps by one rounding error as well, and then hangs on the machine and on the order of the voxels."""
    part = np.linspace(0, 1, 400)
    D, f, Dstar = (1 + 0.1 * part) * 1e-3, 0.15 + 0.02 * part, 0.03 + 3e-3 * part
    signal = biexponential(B, np.full(part.size, 100.0), D, f, Dstar)
    fit = create("posterior", prior=prior, organ="liver").fit_voxels(signal, Acquisition(B, sigma=1.0))
    for key in KEYS:
        bend = np.abs(np.diff(fit.maps[key], 2)) / fit.errors[key][1:-1]
        assert bend.max() < 4e-3, key


def test_thin_slices_may_teach_each_other():
    signal, acquisition, _ = halves(shape=(16, 12, 3))
    flat, deep = (create("posterior", window=window).fit(signal, acquisition) for window in ("3x3", "3x3x3"))
    assert deep.provenance["prior"]["window"] == "3x3x3"
    assert not np.array_equal(flat.maps["f"], deep.maps["f"])


def test_a_prior_can_be_looked_at(tmp_path):
    pytest.importorskip("matplotlib")
    from ivimcore.reports.priorfigure import plot_prior

    fixed = priors.uniform(grid(BOUNDS | {"f": (0.1, 0.1)}))
    for number, prior in enumerate((priors.of_organ("brain", grid()), fixed)):
        plot_prior(prior, tmp_path / f"{number}.png")
        assert (tmp_path / f"{number}.png").stat().st_size > 10_000
