"""A web page to draw on, with live predictions."""
