"""Serving: from an index (and later a student) to a chat app that answers with citations."""
