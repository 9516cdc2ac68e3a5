"""A web page to draw images on, with live predictions."""
