# Data: what the programs look for besides TRIBUTARY_DATA and ./data, and `make data`.
PREFIX  ?= /usr/local
DATADIR ?= $(PREFIX)/share/tributary/data
DATASET ?= mnist

$(B)/shared/learn/sources.o: CPPFLAGS += -DTRIB_DATA_DIR='"$(DATADIR)"'

.PHONY: data
data: ## fetch the full MNIST into data/full, checked and resumable (DATASET=fashion-mnist for the other)
	@data/fetch $(DATASET)
