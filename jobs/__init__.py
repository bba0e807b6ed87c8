"""Spark-ArXiv's jobs: every stage of the pipeline is a process, `python -m jobs STAGE`."""
