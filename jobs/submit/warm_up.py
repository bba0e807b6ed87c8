"""A Spark program that does nothing: what it loads is what every stage's JVM loads. Launched by `class_archive.py`."""

if __name__ == "__main__":
    from pyspark import SparkContext

    with SparkContext() as context:
        context.setLogLevel("WARN")
        context.parallelize(range(2), 2).mapPartitions(list).collect()
