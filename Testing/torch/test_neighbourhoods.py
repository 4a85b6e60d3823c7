"""Neighbourhood attention: against its definition, and both back ends against each other."""

from __future__ import annotations

import logging
import sys
from importlib.util import find_spec

import pytest

torch = pytest.importorskip("torch")

from ivimcore.networks import neighbourhoods  # noqa: E402
from ivimcore.networks.neighbourhoods import neighbourhood_attention  # noqa: E402

CASES = [
    ((2, 13, 10, 1), (5, 5, 1)),  # the window fits, the blocks do not
    ((1, 3, 9, 1), (7, 7, 1)),  # smaller than the window
    ((1, 9, 8, 4), (3, 3, 3)),  # slices look at each other
    ((2, 1, 1, 1), (3, 3, 1)),  # a single voxel
    ((1, 12, 12, 1), (9, 9, 1)),
    ((1, 6, 7, 1), (1, 1, 1)),
]
needs_natten = pytest.mark.skipif(find_spec("natten") is None, reason="natten is not installed")


def parts_of(shape, seed=0, heads=2, channels=16, invalid=0.2):
    rng = torch.Generator().manual_seed(seed)
    parts = [torch.randn(*shape, heads, channels, generator=rng) for _ in range(3)]
    return (*parts, torch.rand(shape, generator=rng) > invalid)


def by_definition(query, key, value, window, valid):
    """A loop over voxels."""
    means, logs = torch.zeros_like(query), torch.full(query.shape[:-1], -1e9)
    half = [n // 2 for n in window]
    for place in torch.cartesian_prod(*(torch.arange(n) for n in query.shape[:4])).tolist():
        m, *at = place
        around = (m, *(slice(max(0, a - h), a + h + 1) for a, h in zip(at, half, strict=True)))
        keys, values = key[around][valid[around]], value[around][valid[around]]
        if len(keys):
            for head in range(query.shape[4]):
                scores = keys[:, head] @ query[(*place, head)] / query.shape[-1] ** 0.5
                means[(*place, head)] = scores.softmax(0) @ values[:, head]
                logs[(*place, head)] = scores.logsumexp(0)
    return means, logs


@pytest.mark.parametrize(("shape", "window"), CASES)
def test_the_reference_is_what_the_definition_says(shape, window):
    query, key, value, valid = parts_of(shape)
    means, logs = neighbourhood_attention(query, key, value, window, valid, "reference")
    wanted, wanted_logs = by_definition(query, key, value, window, valid)
    some = wanted_logs > -1e8
    torch.testing.assert_close(means[some], wanted[some], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(logs[some], wanted_logs[some], atol=1e-5, rtol=1e-5)
    assert (logs[~some] < -1e8).all() and torch.isfinite(means).all()


@needs_natten
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("shape", "window"), CASES)
def test_natten_gives_the_same(shape, window):
    query, key, value, valid = parts_of(shape)
    means, logs = neighbourhood_attention(query, key, value, window, valid, "reference")
    theirs, their_logs = neighbourhood_attention(query, key, value, window, valid, "natten")
    some = logs > -1e8
    torch.testing.assert_close(theirs[some], means[some], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(their_logs[some], logs[some], atol=1e-5, rtol=1e-5)


def test_its_gradient_is_that_of_the_definition():
    query, key, value, valid = parts_of((1, 5, 6, 1))
    found = []
    for function in (lambda *a: neighbourhood_attention(*a, "reference"), by_definition):
        leaves = [part.clone().requires_grad_() for part in (query, key, value)]
        means, logs = function(*leaves, (3, 3, 1), valid)
        some = logs.detach() > -1e8
        (means[some].square().sum() + logs[some].sum()).backward()
        found.append([leaf.grad for leaf in leaves])
    for mine, wanted in zip(*found, strict=True):
        torch.testing.assert_close(mine, wanted, atol=1e-4, rtol=1e-4)


def test_what_may_not_be_attended_to_has_no_influence():
    query, key, value, valid = parts_of((1, 9, 9, 1))
    before = neighbourhood_attention(query, key, value, (5, 5, 1), valid)
    key[~valid], value[~valid] = 50.0, -70.0
    after = neighbourhood_attention(query, key, value, (5, 5, 1), valid)
    some = before[1] > -1e8
    torch.testing.assert_close(after[0][some], before[0][some])
    torch.testing.assert_close(after[1][some], before[1][some])


def test_the_logarithm_counts_neighbours_that_are_alike():
    query = torch.zeros(1, 9, 9, 1, 1, 8)
    logs = neighbourhood_attention(query, query, query, (5, 5, 1), torch.ones(1, 9, 9, 1, dtype=torch.bool))[1]
    counts = logs[0, :, :, 0, 0].exp()
    torch.testing.assert_close(counts[4, 4], torch.tensor(25.0))
    torch.testing.assert_close(counts[0, 0], torch.tensor(9.0))


@pytest.mark.parametrize(("window", "backend"), [((4, 3, 1), "auto"), ((3, 3, 0), "auto"), ((3, 3, 1), "magic")])
def test_an_even_window_and_an_unknown_back_end_are_refused(window, backend):
    with pytest.raises(ValueError, match="odd extents"):
        neighbourhood_attention(*parts_of((1, 4, 4, 1))[:3], window, torch.ones(1, 4, 4, 1, dtype=torch.bool), backend)


def test_on_a_processor_the_reference_is_chosen():
    assert not neighbourhoods.natten_is_faster(torch.device("cpu"))


@pytest.mark.parametrize("fault", [ImportError("no natten here"), RuntimeError("built for another torch")])
def test_a_missing_or_broken_natten_is_told_in_one_line(fault, monkeypatch, caplog):
    neighbourhoods.load_natten.cache_clear()
    monkeypatch.setitem(sys.modules, "natten", None)

    def fail(name):
        raise fault

    monkeypatch.setattr(neighbourhoods.importlib, "import_module", fail)
    with caplog.at_level(logging.WARNING):
        assert neighbourhoods.load_natten() is None
        assert neighbourhoods.load_natten() is None
    assert len(caplog.records) == 1 and "plain torch, with equal results" in caplog.text
    neighbourhoods.load_natten.cache_clear()
