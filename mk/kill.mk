# make kill-test: real processes killed at random times, and what they had accepted counted (tests/kill).
KILLS ?= 50

.PHONY: kill-test
kill-test: all ## kill -9 of devices, edges and cloud at random times, then every update is counted; KILLS=50, SEED=
	@TRIBUTARY_BIN=$(B)/bin /usr/bin/python3 tests/kill/kill.py --kills $(KILLS) $(if $(SEED),--seed $(SEED)) --keep build/kill-test
