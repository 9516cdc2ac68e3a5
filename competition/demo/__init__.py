"""A page to draw on, and what the blend says of the drawing while one draws."""
