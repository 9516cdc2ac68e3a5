"""A `Dataset` split into folds, trained fold by fold into `Predictions`."""
