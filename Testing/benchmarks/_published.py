"""What the papers found, measured on the bundled networks: each line names the effect, the numbers and what is wanted.

Paper I: Kaandorp et al., Magn Reson Med 2021;86:2250. Paper II: the same authors on training strategies in the brain.
Epstein et al.: choice of training labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from ivimcore import create
from ivimcore.evaluation.benchmarks import benchmark
from ivimcore.evaluation.metrics import bias_and_spread, nrmse, over_the_range, spearman
from ivimcore.physics.parameters import PARAMETERS

KEYS = ("D", "f", "Dstar")
PUBLISHED, NEAR = {"D": 0.177, "f": 0.220, "Dstar": 0.386}, 0.01
"""NRMSE of IVIM-NET optimised at SNR 20 in Paper I, and how far from it ours may lie."""
BRIGHT, DARK = 0.5, 0.1
"""S0 above which, at SNR 200 for S0 = 1, every voxel is well measured, and below which its SNR is under 20."""
HIGH_D, DRAWN = 2e-3, 0.8


@dataclass(frozen=True)
class Line:
    """One claim: what was measured, in words, what is wanted, and whether that holds."""

    what: str
    measured: str
    wanted: str
    held: bool


def show(title: str, lines: Iterable[Line]) -> int:
    """Print lines below a title as a table, with the limits; return how many do not hold."""
    print(title, flush=True)
    lines = list(lines)
    widths = [max(len(getattr(line, name)) for line in lines) for name in ("what", "measured", "wanted")]
    for line in lines:
        cells = (line.what, line.measured, line.wanted)
        text = "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        print(f"  {text}  {'yes' if line.held else 'NO'}", flush=True)
    print()
    return sum(not line.held for line in lines)


def within(what: str, value: float, low: float, high: float, digits: int = 3) -> Line:
    """Make the line of a number that must lie between two limits, of which either may be infinite."""
    if np.isinf(low):
        wanted = f"at most {high:.{digits}f}"
    else:
        wanted = f"at least {low:.{digits}f}" if np.isinf(high) else f"{low:.{digits}f} to {high:.{digits}f}"
    return Line(what, f"{value:.{digits}f}", wanted, low <= value <= high)


class Measured:
    """Estimates of some estimators on the voxels of a benchmark at one SNR."""

    def __init__(self, name: str, snr: float, voxels: int) -> None:
        self.test = benchmark(name)
        signal, self.truth, self.acquisition = self.test.simulate(snr, voxels)
        self.signal = signal[:, None, None, :]
        self._found: dict[str, SimpleNamespace] = {}

    def __call__(self, estimator: str, key: str) -> np.ndarray:
        """Return the estimates (v,) of one parameter in stored units."""
        if estimator not in self._found:
            self._found[estimator] = create(estimator).fit(self.signal, self.acquisition, threads=1)
        return np.ravel(self._found[estimator].maps[key])

    def nrmse(self, estimator: str, key: str) -> float:
        """Return the root mean square error over the mean of the truth."""
        return nrmse(self(estimator, key), self.truth[key])

    def parameters_mse(self, estimator: str) -> float:
        """Return the mean squared error of D, f and D*, each over the upper end of its range (Paper II, eq. 3)."""
        ends = {key: self.test.fit_bounds[key][1] for key in KEYS}
        return float(sum(np.nanmean(((self(estimator, key) - self.truth[key]) / ends[key]) ** 2) for key in KEYS))

    def rho(self, estimator: str) -> float:
        """Return the rank correlation of D* and f, its sign left out."""
        return abs(spearman(self(estimator, "Dstar"), self(estimator, "f")))

    def bias(self, estimator: str, key: str, where: np.ndarray | slice = slice(None)) -> float:
        """Return the root mean square of the bias over the range of the truth."""
        return over_the_range(bias_and_spread(self(estimator, key)[where], self.truth[key][where]).bias)

    def spread(self, estimator: str, key: str, where: np.ndarray | slice = slice(None)) -> float:
        """Return half of the width that holds the middle 68 % of the errors: some wild voxels do not matter."""
        errors = (self(estimator, key) - self.truth[key])[where]
        low, high = np.nanpercentile(errors, (16, 84))
        return float(high - low) / 2

    def slope(self, estimator: str, key: str, where: np.ndarray) -> float:
        """Return the slope of the estimates against the truth: 1 follows the tissue, 0 always says the same."""
        found, known = self(estimator, key)[where], self.truth[key][where]
        there = np.isfinite(found)
        return float(np.polyfit(known[there], found[there], 1)[0])


def paper_one(voxels: int) -> Iterator[Line]:
    """IVIM-NET as published, and its fault; the network for any protocol beside them."""
    at = Measured("paper1", 20.0, voxels)
    for key, value in PUBLISHED.items():
        yield within(f"ivimnet_optim_paper1: NRMSE of {PARAMETERS[key].symbol}, as published", at.nrmse(
            "ivimnet_optim_paper1", key), value - NEAR, value + NEAR)  # fmt: skip
    yield within("ivimnet_optim_paper1: rho of D* and f", at.rho("ivimnet_optim_paper1"), -np.inf, 0.35, 2)
    yield within("ivimnet_orig_paper1: rho of D* and f, the fault", at.rho("ivimnet_orig_paper1"), 0.6, np.inf, 2)
    for key, value in PUBLISHED.items():
        yield within(f"anyprotocol: NRMSE of {PARAMETERS[key].symbol}, not worse than published", at.nrmse(
            "anyprotocol", key), -np.inf, value)  # fmt: skip


def paper_two(voxels: int) -> Iterator[Line]:
    """Early stopping against long training, unsupervised against supervised, on the uniform set at SNR 200."""
    at = Measured("uniform", 200.0, voxels)
    early, long, taught = "mlp_unsupervised_brain16_early", "mlp_unsupervised_brain16", "mlp_supervised_brain16"
    bright, dark = at.truth["S0"] > BRIGHT, at.truth["S0"] < DARK
    yield within("unsupervised, stopped early: rho of D* and f", at.rho(early), 0.4, np.inf, 2)
    yield within("unsupervised, trained long: rho of D* and f", at.rho(long), -np.inf, 0.25, 2)
    yield within("trained long / stopped early: parameters-MSE", at.parameters_mse(long) / at.parameters_mse(early),
                 -np.inf, 1.0, 2)  # fmt: skip
    for key in KEYS:
        yield within(f"unsupervised / least squares: spread of {PARAMETERS[key].symbol}, S0 > {BRIGHT:g}",
                     at.spread(long, key, bright) / at.spread("nlls", key, bright), 0.7, 1.5, 2)  # fmt: skip
    for key in KEYS:
        slopes = at.slope(taught, key, bright), at.slope(taught, key, dark)
        yield Line(
            f"supervised: slope of {PARAMETERS[key].symbol} on the truth, S0 > {BRIGHT:g}, S0 < {DARK:g}",
            f"{slopes[0]:.2f}, {slopes[1]:.2f}", f"the second at most {DRAWN:g}: drawn to the mean", slopes[1] <= DRAWN,
        )  # fmt: skip


def labels(voxels: int) -> Iterator[Line]:
    """Maximum-likelihood labels against the truth, Rician against Gaussian, and the hybrid, at SNR 15."""
    at = Measured("labels", 15.0, voxels)
    kinds = ("truth", "mle_rician", "mle_gaussian", "hybrid")
    truth, rician, gaussian, hybrid = (f"mlp_{kind}_labels" for kind in kinds)
    for key in KEYS:
        yield _less(f"bias of {PARAMETERS[key].symbol}: Rician labels, truth as label", key,
                    at.bias(rician, key), at.bias(truth, key))  # fmt: skip
    yield _less("bias of D: Rician, Gaussian labels", "D", at.bias(rician, "D"), at.bias(gaussian, "D"))
    high = at.truth["D"] > HIGH_D
    yield _less(f"bias of D above {HIGH_D * 1e3:g} 10⁻³ mm²/s: Rician, Gaussian labels", "D",
                at.bias(rician, "D", high), at.bias(gaussian, "D", high))  # fmt: skip
    for key in KEYS:
        for what, number in (("bias", at.bias), ("spread", at.spread)):
            three = [number(name, key) for name in (truth, hybrid, rician)]
            yield Line(f"{what} of {PARAMETERS[key].symbol}: truth, hybrid, Rician labels", _shown(key, *three),
                       "the hybrid between the others", min(three[::2]) <= three[1] <= max(three[::2]))


def _less(what: str, key: str, first: float, second: float) -> Line:
    return Line(what, _shown(key, first, second), "the first smaller", first < second)


def _shown(key: str, *values: float) -> str:
    parameter = PARAMETERS[key]
    return ", ".join(f"{value * parameter.display_factor:.3g}" for value in values) + f" {parameter.display_unit}"
