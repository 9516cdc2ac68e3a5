import numpy as np
from keras import ops

from competition.models.networks.affine import gather_pixels, transform_images


def test_both_ways_to_interpolate_agree_also_outside_of_the_image():
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (50, 9, 7, 3)).astype(np.float32)
    linear, shift = random.normal(0, 1.5, (50, 2, 2)), random.uniform(-12, 12, (50, 2, 1))
    transform = np.concatenate([np.concatenate([linear, shift], axis=2).reshape(50, 6), np.zeros((50, 2))], axis=1)
    transform[0] = [1, 0, 0, 0, 1, 0, 0, 0]
    expected, gathered = (
        np.asarray(function(images, ops.convert_to_tensor(transform, "float32")))
        for function in (transform_images, gather_pixels)
    )
    np.testing.assert_allclose(gathered, expected, atol=0.01)
    np.testing.assert_array_equal(gathered[0], images[0])
    assert (expected == 0).any() and expected.max() > 100
