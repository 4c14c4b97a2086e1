#!/bin/sh
# Makes a cluster of the nodes that are named, a replica for each primary, and stays until it is stopped.
# Safe to run again: if the first node knows a cluster, nothing is changed.
set -eu

first=$1
if ! valkey-cli -h "$first" cluster info | grep -q 'cluster_state:ok'; then
    nodes=
    for name in "$@"; do
        # The nodes are introduced to each other by address, because that is how they announce themselves.
        address=$(getent hosts "$name" | cut -d ' ' -f 1)
        nodes="$nodes $address:6379"
    done
    # shellcheck disable=SC2086 # one argument per node
    valkey-cli --cluster create $nodes --cluster-replicas 1 --cluster-yes
fi
echo "the cluster serves"
trap 'exit 0' TERM INT
while :; do
    sleep 3600 &
    wait $!
done
