"""Beyond one machine: shards of `roco index` shared out among the processes of a cluster."""
