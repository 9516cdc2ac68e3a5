import numpy as np

from competition.data.augmentation import affine_matrix


def test_the_affine_matrix_rotates_zooms_and_shears():
    pixel = np.array([2, 1])  # row and column, relative to the centre
    assert (np.array(affine_matrix()) @ pixel == pixel).all()
    assert (np.array(affine_matrix(rotation=(0, 1))) @ pixel == [-1, 2]).all()
    assert (np.array(affine_matrix(zoom=(2, 3))) @ pixel == [4, 3]).all()
    assert (np.array(affine_matrix(shear=0.5)) @ pixel == [2, 2]).all()
