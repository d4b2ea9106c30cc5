# check.mk: what `make check` runs, in order.
