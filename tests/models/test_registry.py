import pytest

from competition.errors import UserError
from competition.models.registry import available_models, load_spec

NETWORKS = [name for name in available_models() if load_spec(name).is_network]


@pytest.mark.parametrize("name", NETWORKS)
def test_each_network_has_variants_with_another_number_of_epochs(name):
    spec, longer = load_spec(name), load_spec(name, "e40")
    assert longer.recipe.epochs == 40
    assert longer.seconds == pytest.approx(40 / spec.recipe.epochs * spec.seconds)
    assert load_spec(name, f"e{spec.recipe.epochs}").recipe == spec.recipe


@pytest.mark.parametrize(
    ("name", "variant", "available"),
    [
        ("quick", "e0", "quick:deskewed, quick:short, quick:long, quick:wide, quick:eN with N epochs, e.g. quick:e8"),
        ("detail", "wide", "detail:eN with N epochs, e.g. detail:e8"),
        ("svm", "e8", "svm:pixels"),
        ("boosting", "e8", "none"),
    ],
)
def test_an_unknown_variant_is_an_error_that_lists_the_others(name, variant, available):
    with pytest.raises(UserError, match=f"unknown variant '{variant}' of {name}; available: {available}$"):
        load_spec(name, variant)
