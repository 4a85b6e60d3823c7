"""Two examinations laid over each other: a known movement is found, and what cannot be found is said."""

from __future__ import annotations

import numpy as np
import pytest
from refusal import refused

from ivimcore.data.alignment import align
from ivimcore.data.series import Geometry


def body(geometry: Geometry, matrix: np.ndarray, noise: float = 0.02, seed: int = 0):
    """Return a body with organs (x, y, z) and its lesion, moved by `matrix` (RAS of the body to RAS of the scanner)."""
    index = np.stack(np.meshgrid(*[np.arange(n) for n in geometry.shape], [1.0], indexing="ij"), -1)[..., 0, :]
    x, y, z, _ = np.moveaxis(index @ (np.linalg.inv(matrix) @ geometry.affine).T, -1, 0)
    image = np.where((x / 90) ** 2 + (y / 65) ** 2 < 1, 0.5, 0.0)
    image[((x + 40) / 25) ** 2 + ((y - 10) / 30) ** 2 + (z / 60) ** 2 < 1] = 1.0
    image[((x - 45) / 15) ** 2 + ((y + 20) / 20) ** 2 + ((z - 10) / 25) ** 2 < 1] = 0.8
    image[(x / 12) ** 2 + ((y + 45) / 12) ** 2 < 1] = 0.15
    lesion = ((x + 42) / 10) ** 2 + ((y - 12) / 10) ** 2 + (z / 12) ** 2 < 1
    rng = np.random.default_rng(seed)
    return 900 * np.abs(image * (1 + 0.05 * np.sin(z / 9)) + noise * rng.normal(size=image.shape)), lesion


def grid(shape=(56, 48, 12), spacing=(4.0, 4.0, 6.0), tilt: float = 0.0, origin=(-110.0, -95.0, -33.0)) -> Geometry:
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = origin
    return Geometry(shape, rigid(tilt, (0, 0, 0), axis=0) @ affine)


def rigid(degrees: float, shift, axis: int = 2) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    matrix = np.eye(4)
    i, j = [n for n in range(3) if n != axis]
    matrix[i, i], matrix[i, j], matrix[j, i], matrix[j, j] = c, -s, s, c
    matrix[:3, 3] = shift
    return matrix


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


@pytest.mark.parametrize(
    ("movement", "now"),
    [
        (rigid(6.0, (9.0, -7.0, 8.0)), grid()),
        (rigid(-4.0, (-6.0, 5.0, -5.0), axis=0), grid(tilt=12.0)),
        # The table stood elsewhere: hardly any of the coordinates agree.
        (rigid(2.0, (0.0, 0.0, 90.0)), grid(shape=(64, 52, 14), spacing=(3.6, 3.7, 5.5), origin=(-115, -95, 52.0))),
    ],
)
def test_a_known_movement_is_found_and_the_lesion_lies_where_it_is(movement, now):
    then = grid()
    earlier, lesion_then = body(then, np.eye(4))
    image, lesion_now = body(now, movement, seed=1)
    found = align(earlier, then, image, now)
    assert found.helps and found.after > 0.9
    points = np.array([(-42.0, 12.0, 0.0), (30.0, 20.0, 10.0), (0.0, -40.0, -10.0)])
    expected = np.array([(movement @ [*point, 1.0])[:3] - point for point in points])
    np.testing.assert_allclose([found.shift(point) for point in points], expected, atol=1.5)
    carried = found.carried(lesion_then, then, now)
    assert dice(carried, lesion_now) > 0.8  # a lesion of 5 x 5 x 4 voxels
    assert dice(carried, lesion_now) > dice(type(found)(np.eye(4), 0, 0, 0).carried(lesion_then, then, now), lesion_now)


def test_few_slices_are_moved_in_their_plane_only():
    flat = grid(shape=(56, 48, 3), tilt=20.0, origin=(-110.0, -95.0, -6.0))
    earlier, _ = body(flat, np.eye(4))
    image, _ = body(flat, rigid(5.0, (10.0, 0.0, 0.0), axis=2), seed=1)
    found = align(earlier, flat, image, flat)
    across = flat.affine[:3, 2] / flat.spacing[2]
    for point in ((-40.0, 10.0, 0.0), (20.0, -30.0, 5.0)):
        assert abs(found.shift(np.array(point)) @ across) < 1e-6
    assert found.helps and np.linalg.norm(found.shift(np.zeros(3))) > 5


def test_a_patient_who_did_not_move_stays_where_he_is():
    geometry = grid()
    earlier, lesion = body(geometry, np.eye(4))
    found = align(earlier, geometry, 0.3 * body(geometry, np.eye(4), seed=1)[0], geometry)
    assert np.abs(found.shift(np.array([-42.0, 12.0, 0.0]))).max() < 0.3 and found.angle < 0.3
    assert dice(found.carried(lesion, geometry, geometry), lesion) > 0.97


def test_masks_are_carried_from_any_grid_to_any_other():
    then, now = grid(tilt=7.0), grid(shape=(40, 50, 16), spacing=(5.0, 3.5, 4.0))
    movement = rigid(3.0, (4.0, 2.0, -6.0), axis=1)
    found = type(align(body(then, np.eye(4))[0], then, body(then, np.eye(4))[0], then))(movement, 0.0, 1.0, 3.0)
    assert dice(found.carried(body(then, np.eye(4))[1], then, now), body(now, movement)[1]) > 0.85


def test_images_without_contrast_or_of_other_places_are_refused():
    geometry = grid()
    image, _ = body(geometry, np.eye(4))
    refused(lambda: align(np.ones(geometry.shape), geometry, image, geometry), "without any contrast")
    refused(lambda: align(np.full(geometry.shape, np.nan), geometry, image, geometry), "without any contrast")
