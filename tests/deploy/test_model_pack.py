import numpy as np
import pytest

from competition.deploy.model_pack import load_decision, save_decision
from competition.scoring.decisions import fit_decision
from competition.scoring.metrics import find_metric


@pytest.mark.parametrize(("kind", "name"), [("class", "QWK"), ("labels", "macro F1"), ("labels", "sample F1")])
def test_a_packed_decision_chooses_the_same_labels(kind, name, tmp_path):
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet([4.0, 1.0, 2.0], 500)
    if kind == "class":
        labels = (probabilities.cumsum(axis=1) < rng.random((500, 1))).sum(axis=1)
    else:
        labels = (rng.random((500, 3)) < probabilities).astype(np.uint8)
    decision = fit_decision(find_metric(name), probabilities, labels)
    path = tmp_path / "decision.npz"
    path.write_bytes(save_decision(decision))
    loaded = load_decision(path)
    assert type(loaded) is type(decision)
    assert (loaded.decide(probabilities) == decision.decide(probabilities)).all()
