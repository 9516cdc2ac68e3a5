"""From a competition's files to a blended submission."""
