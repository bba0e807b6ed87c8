#!/bin/sh
# What a container of ours does first. With a Spark cluster, driver, master and workers share a secret; it stands in
# spark-defaults.conf on a tmpfs, for a flag or a Java option would show it to every `ps`.
set -eu

case "${SPARK_MASTER:-}" in
  spark://*)
    umask 077
    mkdir -p "$HOME/spark-conf"
    # A container has an address in each of its networks: executors find the driver by name, it listens on all.
    cat >"$HOME/spark-conf/spark-defaults.conf" <<END
spark.authenticate true
spark.authenticate.secret $SPARK_SECRET
spark.network.crypto.enabled true
spark.network.crypto.cipher AES/GCM/NoPadding
spark.driver.host $(hostname)
spark.driver.bindAddress 0.0.0.0
spark.master.rest.enabled false
END
    umask 022
    ;;
esac
exec "$@"
