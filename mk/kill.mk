# make kill-test: real processes killed at random times, and what they had accepted counted (tests/kill).
KILLS ?= 50

.PHONY: kill-test
kill-test: all $(B)/faults.so ## kill -9 of devices, edges and cloud at random times, then every update is counted; KILLS=50, SEED=
	@TRIBUTARY_BIN=$(B)/bin TRIBUTARY_SLOW=$(SLOW) /usr/bin/python3 tests/kill/kill.py --kills $(KILLS) $(if $(filter file undefined,$(origin SEED)),,--seed $(SEED)) --keep build/kill-test

# Preloaded by tests into daemons: failing memory and disks.
FAULTS := $(B)/faults.so
$(FAULTS): tests/kill/faults.c
	@mkdir -p $(@D)
	$(if $(V),,@echo "  CC    $<")
	$(Q)$(CC) -std=gnu11 -O2 -g $(filter-out -Wpedantic,$(WARN)) -D_GNU_SOURCE -fPIC -shared -o $@ $< -ldl

HOURS ?= 1

.PHONY: soak
soak: all ## a federation with churn for hours: memory, descriptors and disk stay flat; HOURS=1
	@TRIBUTARY_BIN=$(B)/bin /usr/bin/python3 tests/kill/soak.py --hours $(HOURS) --out build/soak.csv
