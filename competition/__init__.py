"""From a table of pixels to a submission.

    sources  ->  data  ->  folds  ->  crossval  ->  ensemble  ->  submission
     files      Dataset    Folds     Predictions      Blend      submission.csv

`sources` brings a competition's three files. `data` checks them into a Dataset. `folds` freezes
which rows are held out together. `crossval` runs one task per (member, fold) on the workers of
`compute`, and `store` keeps what each task predicted. `ensemble` blends the members' predictions and
`submission` writes the blend in the form that the competition asks for. `grading` alone opens the
sealed answers of the embedded competitions.

Imports only go up the list in `tests/test_architecture.py`: no room knows of those after it.
"""
