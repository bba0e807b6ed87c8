"""From chunks to passages that answer a question: vectors, the index, the searcher."""
