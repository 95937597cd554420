# make experiments: published figures against ours, on simulated fleets (tests/experiments/run.py, docs/experiments.md).
#   ONLY=name,other*  SEEDS=1..5  JOBS=2
EXPERIMENTS = TRIBUTARY_BIN=$(B)/bin tests/experiments/run.py $(if $(ONLY),--only '$(ONLY)') $(if $(SEEDS),--seeds '$(SEEDS)') \
              $(if $(JOBS),--jobs '$(JOBS)')

.PHONY: experiments experiments-all
experiments: $(B)/bin/tributary ## the short experiments on simulated fleets, beside published figures; ONLY=, SEEDS=1..5, JOBS=
	@$(EXPERIMENTS)

experiments-all: $(B)/bin/tributary ## all of them (hours; broken off, they go on where they were)
	@$(EXPERIMENTS) --all
