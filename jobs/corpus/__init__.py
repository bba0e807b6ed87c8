"""The corpus room: from arXiv metadata to chunks of clean text."""
