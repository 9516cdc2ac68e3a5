import numpy as np
import pytest
from sklearn import metrics

from competition.errors import UserError
from competition.scoring.metrics import (
    ACCURACY,
    LOG_LOSS,
    MAE,
    METRICS,
    RMSE,
    CustomMetric,
    accuracy,
    displayed_metrics,
    find_metric,
    log_loss,
    macro_f1,
    macro_recall,
    micro_f1,
    rank_members,
)
from competition.scoring.standard_error import Score


@pytest.fixture
def rows():
    """Random labels and probabilities."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 3, 500), rng.dirichlet(np.ones(3), 500)


def test_accuracy_and_log_loss_equal_those_of_scikit_learn(rows):
    labels, probabilities = rows
    assert accuracy(labels, probabilities).value == metrics.accuracy_score(labels, probabilities.argmax(axis=1))
    assert log_loss(labels, probabilities).value == pytest.approx(metrics.log_loss(labels, probabilities))


def test_the_log_loss_of_a_confident_error_is_large_but_finite():
    assert log_loss(np.array([1]), np.array([[1.0, 0.0]])).value == pytest.approx(-np.log(1e-15))


def test_confusion_matrix_metrics_equal_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 3_000)
    probabilities = rng.dirichlet(np.ones(5), 3_000) + 0.3 * np.eye(5)[labels]
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    predicted = probabilities.argmax(axis=1)
    f1, kappa = (find_metric(name).score(labels, probabilities) for name in ("macro F1", "QWK"))
    assert f1.value == pytest.approx(metrics.f1_score(labels, predicted, average="macro"))
    assert kappa.value == pytest.approx(metrics.cohen_kappa_score(labels, predicted, weights="quadratic"))


@pytest.mark.parametrize("name", ["accuracy", "log loss", "Log-Loss", "macro_f1", "qwk", "map@3", "statistics:mean"])
def test_a_metric_is_found_by_its_own_name(name):
    assert find_metric(find_metric(name).name) == find_metric(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "dice",
            "unknown metric 'dice'; choose from accuracy, log loss, AUC, .*, MAE, or your own as module:function",
        ),
        (
            "nowhere:function",
            "metric nowhere:function cannot be imported: ModuleNotFoundError: No module named 'nowhere'",
        ),
        ("statistics:function", "cannot be imported: AttributeError: module 'statistics' has no attribute 'function'"),
        (":function", "cannot be imported"),
    ],
)
def test_the_error_for_an_unknown_metric_names_it(name, message):
    with pytest.raises(UserError, match=message):
        find_metric(name)


def test_macro_f1_ignores_classes_that_neither_occur_nor_are_predicted():
    labels = np.array([0, 0, 1, 1])
    assert find_metric("macro F1").score(labels, np.eye(3)[labels]).value == 1


def test_kappa_requires_consecutive_classes():
    labels = np.array([0, 1])
    find_metric("QWK").check_target(labels, np.arange(5))
    for classes in (np.array(["high", "low"]), np.array([0, 1, 3])):
        with pytest.raises(
            UserError,
            match=r"QWK needs consecutive integers as classes, found (high, low|0, 1, 3); choose another metric",
        ):
            find_metric("QWK").check_target(labels, classes)


def test_a_metric_of_another_kind_of_target_is_rejected():
    classes, sets, numbers = np.array([0, 1]), np.eye(2, dtype=np.uint8), np.array([0.5, 2], dtype=np.float32)
    for name, labels, kind in (
        ("RMSE", classes, "one class per image"),
        ("QWK", sets, "several labels per image"),
        ("accuracy", numbers, "numbers"),
        ("sample F1", classes, "one class per image"),
    ):
        message = rf"{name} is not a metric of {kind}; choose another metric in competition\.toml: "
        with pytest.raises(UserError, match=message):
            find_metric(name).check_target(labels, np.arange(2))
    for metric in METRICS:
        metric.check_target({"class": classes, "labels": sets, "number": numbers}[metric.kinds[0]], np.arange(2))


@pytest.fixture
def label_sets():
    """Random sets of five labels, none of them empty, and probabilities that are better than chance."""
    rng = np.random.default_rng(1)
    labels = (rng.random((400, 5)) < 0.3).astype(np.uint8)
    labels[~labels.any(axis=1), 0] = 1
    probabilities = np.clip(rng.random((400, 5)) * 0.7 + 0.3 * labels, 0.01, 0.99)
    probabilities[np.arange(400), probabilities.argmax(axis=1)] = 0.9  # at least one label is predicted
    return labels, probabilities


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("accuracy", lambda true, _, predicted: metrics.accuracy_score(true, predicted)),
        ("macro F1", lambda true, _, predicted: metrics.f1_score(true, predicted, average="macro")),
        ("micro F1", lambda true, _, predicted: metrics.f1_score(true, predicted, average="micro")),
        ("sample F1", lambda true, _, predicted: metrics.f1_score(true, predicted, average="samples")),
        ("macro recall", lambda true, _, predicted: metrics.recall_score(true, predicted, average="macro")),
        ("AUC", lambda true, probabilities, _: metrics.roc_auc_score(true, probabilities)),
        ("mean column AUC", lambda true, probabilities, _: metrics.roc_auc_score(true, probabilities)),
        (
            "log loss",
            lambda true, probabilities, _: np.mean(
                [metrics.log_loss(t, p) for t, p in zip(true.T, probabilities.T, strict=True)]
            ),
        ),
    ],
)
def test_metrics_of_label_sets_equal_those_of_scikit_learn(label_sets, name, expected):
    labels, probabilities = label_sets
    score = find_metric(name).score(labels, probabilities)
    assert score.value == pytest.approx(expected(labels, probabilities, probabilities >= 0.5))
    assert score.standard_error > 0


def test_the_most_probable_label_is_predicted_where_none_is_and_all_rows_have_one():
    probabilities = np.array([[0.4, 0.3], [0.1, 0.9]])
    assert accuracy(np.array([[1, 0], [0, 1]]), probabilities).value == 1
    assert accuracy(np.array([[0, 0], [0, 1]]), probabilities).value == 1


def test_macro_recall_and_micro_f1_of_classes_equal_those_of_scikit_learn(rows):
    labels, probabilities = rows
    predicted = probabilities.argmax(axis=1)
    recall, f1 = (find_metric(name).score(labels, probabilities).value for name in ("macro recall", "micro F1"))
    assert recall == pytest.approx(metrics.recall_score(labels, predicted, average="macro"))
    assert f1 == pytest.approx(metrics.accuracy_score(labels, predicted))


@pytest.mark.parametrize("classes", [2, 3])
def test_auc_of_classes_equals_that_of_scikit_learn(classes):
    rng = np.random.default_rng(0)
    labels, probabilities = rng.integers(0, classes, 200), rng.dirichlet(np.ones(classes), 200).round(1)
    probabilities[:, 0] += 1 - probabilities.sum(axis=1)
    scores = probabilities[:, 1] if classes == 2 else probabilities
    expected = metrics.roc_auc_score(labels, scores, multi_class="ovr")
    assert find_metric("AUC").score(labels, probabilities).value == pytest.approx(expected)


def naive_average_precision(true: set[int], ranking: list[int], k: int) -> float:
    hits, total = 0, 0.0
    for rank, label in enumerate(ranking[:k], start=1):
        if label in true:
            hits += 1
            total += hits / rank
    return total / min(len(true), k)


@pytest.mark.parametrize("k", [1, 3, 5, 20])
def test_mean_average_precision_equals_a_naive_one(rows, label_sets, k):
    for labels, probabilities in (rows, label_sets):
        sets = [set(np.flatnonzero(row)) if labels.ndim == 2 else {int(row)} for row in labels]
        rankings = (-probabilities).argsort(axis=1).tolist()
        expected = np.mean([naive_average_precision(*pair, k) for pair in zip(sets, rankings, strict=True)])
        assert find_metric(f"MAP@{k}").score(labels, probabilities).value == pytest.approx(expected)


def test_errors_of_numbers_equal_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    labels, predictions = rng.normal(size=300).astype(np.float32), rng.normal(size=(300, 1))
    rmse, mae = (find_metric(name).score(labels, predictions) for name in ("RMSE", "MAE"))
    assert rmse.value == pytest.approx(metrics.root_mean_squared_error(labels, predictions[:, 0]))
    assert mae.value == pytest.approx(metrics.mean_absolute_error(labels, predictions[:, 0]))


def test_log_loss_scales_rows_to_a_sum_of_1():
    labels, probabilities = np.array([0, 1]), np.array([[0.6, 0.2], [0.1, 0.3]])
    assert log_loss(labels, probabilities).value == pytest.approx(-np.log(0.75))


def test_equal_rows_of_a_group_do_not_reduce_the_standard_error(rows):
    labels, probabilities = rows
    groups = np.repeat(np.arange(500), 4)
    repeated = labels[groups], probabilities[groups]
    for metric in METRICS:
        if "class" in metric.kinds:
            expected = metric.score(labels, probabilities).standard_error
            tolerance = 0.4 if isinstance(metric, CustomMetric) else 1e-3
            assert metric.score(*repeated, groups).standard_error == pytest.approx(expected, rel=tolerance)
            assert metric.score(*repeated).standard_error < 0.8 * expected


def test_bootstrap_samples_without_a_rare_class_are_skipped():
    labels = np.arange(300) % 3 * (np.arange(300) < 9)  # three of class 1 and of class 2

    def label_probability(labels, probabilities):
        assert len(set(labels)) == 3
        return float(probabilities[np.arange(len(labels)), labels].mean())

    score = CustomMetric("mine", label_probability).score(labels, np.random.default_rng(0).dirichlet(np.ones(3), 300))
    assert score.value > 0 and score.standard_error > 0


def test_a_failing_custom_metric_is_named_in_the_error():
    labels, probabilities = np.array([0, 1]), np.eye(2)
    with pytest.raises(UserError, match=r"custom metric mine raised ZeroDivisionError: .*; it must accept"):
        CustomMetric("mine", lambda labels, probabilities: 1 / 0).score(labels, probabilities)
    with pytest.raises(UserError, match=r"custom metric mine returned nan; it must accept .* return a finite number"):
        CustomMetric("mine", lambda labels, probabilities: np.nan).score(labels, probabilities)


def test_a_failing_metric_of_the_package_asks_for_another_one():
    with pytest.raises(UserError) as error:
        find_metric("AUC").score(np.zeros(3, dtype=int), np.full((3, 1), 0.5))
    problem = "raised ValueError: AUC needs rows with and without a label"
    assert str(error.value) == f"metric AUC {problem}; choose another metric in competition.toml"


@pytest.mark.parametrize(
    "column", [[1, 0, 0, 0], [1, 1, 1, 0]], ids=["a single row with the label", "a single row without"]
)
def test_auc_averages_the_labels_that_some_rows_have_and_others_lack(column):
    labels = np.array([column, [1, 1, 1, 1], [0, 0, 0, 0]], dtype=np.uint8).T
    probabilities = np.array([[0.9, 0.8, 0.6, 0.1], [0.5, 0.4, 0.3, 0.2], [0.5, 0.4, 0.3, 0.2]]).T
    assert find_metric("AUC").score(labels, probabilities).value == 1


def test_a_custom_metric_that_no_sample_of_rows_allows_has_no_standard_error():
    labels, probabilities = np.arange(40) % 2, np.eye(2)[np.arange(40) % 2]

    def of_these_rows_only(rows, predictions):
        assert (rows == labels).all()
        return 1.0

    assert CustomMetric("mine", of_these_rows_only).score(labels, probabilities) == Score(1.0, 0.0)


@pytest.mark.parametrize("groups", [None, np.arange(6) // 2])
def test_every_row_can_be_drawn_by_the_bootstrap(groups):
    calls = []

    def record(labels, predictions):
        calls.append(predictions[:, 0].tolist())
        return 0.0

    labels, predictions = np.arange(6) % 2, np.arange(6.0)[:, None]
    CustomMetric("mine", record).score(labels, predictions, groups)
    assert {row for sample in calls[1:] for row in sample} == set(range(6))  # the first call is for all rows
    assert {len(sample) for sample in calls} == {6}


def lower_is_better(labels, predictions):
    return 0.25


def test_a_leading_minus_means_that_lower_is_better():
    assert find_metric("statistics:mean").sign == 1 and find_metric("statistics:mean").name == "statistics:mean"
    negative = find_metric(f"-{__name__}:lower_is_better")
    assert negative.sign == -1 and negative.score(np.arange(2), np.eye(2)).value == 0.25


def test_the_default_metric_is_kaggles_usual_one_for_the_kind_of_target():
    assert [find_metric("", kind) for kind in ("class", "labels", "number")] == [ACCURACY, LOG_LOSS, RMSE]


def test_the_error_for_a_metric_of_another_kind_names_those_that_fit():
    with pytest.raises(UserError) as error:
        find_metric("accuracy").check_target(np.array([0.5, 2], dtype=np.float32), np.arange(2))
    remedy = "choose another metric in competition.toml: RMSE, MAE"
    assert str(error.value) == f"accuracy is not a metric of numbers; {remedy}"


def test_sample_f1_of_small_sets():
    labels = np.array([[0, 0], [1, 0], [0, 0], [1, 1]], dtype=np.uint8)
    probabilities = np.array([[0.1, 0.1], [0.1, 0.1], [0.9, 0.1], [0.9, 0.1]])
    assert find_metric("sample F1").score(labels, probabilities).value == pytest.approx((1 + 0 + 0 + 2 / 3) / 4)


def test_macro_recall_ignores_classes_that_do_not_occur():
    assert find_metric("macro recall").score(np.array([0, 0, 1]), np.eye(3)[[0, 2, 1]]).value == 0.75


def test_kappa_of_a_single_class_is_0():
    assert find_metric("QWK").score(np.zeros(4, dtype=int), np.eye(2)[[0, 0, 0, 0]]).value == 0


def test_average_precision_of_a_row_without_labels_is_0():
    labels = np.array([[0, 0, 0], [0, 1, 0]], dtype=np.uint8)
    assert find_metric("MAP@3").score(labels, np.array([[0.9, 0.5, 0.1]] * 2)).value == 0.25


def test_equal_probabilities_are_ranked_in_the_order_of_classes():
    labels = np.arange(20)
    ranked = find_metric("MAP@20").score(labels, np.full((20, 20), 0.05)).value
    assert ranked == pytest.approx(np.mean(1 / np.arange(1, 21)))


def test_tables_show_the_competitions_metric_first_and_no_metric_twice():
    classes, numbers = np.array([0, 1]), np.array([0.5, 2], dtype=np.float32)
    auc = find_metric("AUC")
    assert displayed_metrics(auc, classes) == (auc, ACCURACY, LOG_LOSS)
    assert displayed_metrics(LOG_LOSS, classes) == (LOG_LOSS, ACCURACY)
    assert displayed_metrics(MAE, numbers) == (MAE, RMSE)


@pytest.mark.parametrize("name", ["accuracy", "log loss"])
def test_members_are_ranked_by_the_competitions_metric_best_first(name):
    labels = np.arange(100) % 2
    right, half = np.eye(2)[labels] * 0.8 + 0.1, np.full((100, 2), 0.5)
    ranking = rank_members({"chance": half, "good": right, "bad": right[:, ::-1]}, labels, find_metric(name))
    assert list(ranking) == ["good", "chance", "bad"]
    percent, loss = ("100.000 ± 1.000 %", "0.1054 ± 0.0000")
    assert ranking["good"] == ([percent, loss] if name == "accuracy" else [loss, percent])


def test_member_scores_use_groups_in_their_standard_errors():
    labels = np.arange(100) // 4 % 2
    oof = np.eye(2)[np.arange(100) // 8 % 2]
    alone, grouped = (rank_members({"x": oof}, labels, ACCURACY, groups) for groups in (None, np.arange(100) // 4))
    assert alone["x"][0] == "52.000 ± 4.996 %" and grouped["x"][0] == "52.000 ± 9.992 %"


@pytest.mark.integration
def test_bootstrapped_standard_errors_are_standard_deviations_over_samples():
    rng = np.random.default_rng(0)

    def score_sample(metric):
        labels = rng.integers(0, 4, 1_000)
        return metric.score(labels, (rng.dirichlet(np.ones(4), 1_000) + 0.4 * np.eye(4)[labels]) / 1.4)

    custom = CustomMetric("mine", lambda labels, probabilities: float((probabilities.argmax(axis=1) == labels).mean()))
    for metric in (*(metric for metric in METRICS if "class" in metric.kinds), custom):
        scores = [score_sample(metric) for _ in range(60)]
        deviation = np.std([score.value for score in scores])
        assert np.mean([score.standard_error for score in scores]) == pytest.approx(deviation, rel=0.35), metric.name


@pytest.mark.parametrize("metric", [macro_f1, macro_recall, micro_f1])
def test_scores_of_classes_are_1_if_no_class_occurs_or_is_predicted(metric):
    assert metric(np.zeros(6)) == 1
