"""What a person looks at: terminal tables, HTML pages and the demo."""
