"""Networks trained on other pictures, whose features are used as they are."""
