"""Presentation of results: terminal tables, HTML pages and the demo."""
