"""Papers that we typeset ourselves, so that their true text is known: prose, styles, sources and the press."""
