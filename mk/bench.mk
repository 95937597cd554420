# make bench: figures beside their limits, tests/bench/*.c in one program. ONLY=NAME runs one of them, or what prints the
# figure of that name, as encode-int8; build/gcc/bin/bench --list has all names.

BENCH_OBJ := $(patsubst %.c,$(B)/%.o,$(wildcard tests/bench/*.c))

# The plain loops that others are measured against get the best that a compiler makes of them.
$(B)/tests/bench/%_avx2.o: KFLAGS := -O3 -mavx2

$(B)/bin/bench: $(BENCH_OBJ) $(LIB)
	@mkdir -p $(@D)
	$(if $(V),,@echo "  LINK  $@")
	$(Q)$(CC) -o $@ $^ $(LDFLAGS) $(BLAS) $(LIBS)

# What puts load on programs: many participants; a socket without anything behind it.
LOAD := bench-crowd bench-router
LOAD_OBJ := $(patsubst %.c,$(B)/%.o,$(wildcard tests/bench/load/*.c))
$(LOAD:%=$(B)/bin/%): $(B)/bin/bench-%: $(B)/tests/bench/load/%.o $(LIB)
	@mkdir -p $(@D)
	$(if $(V),,@echo "  LINK  $@")
	$(Q)$(CC) -o $@ $^ $(LDFLAGS) $(LIBS)

# Counts syncs and blocks written in a program that it is preloaded into.
$(B)/bin/libcountio.so: tests/bench/preload/count_io.c tests/bench/preload/count_io.h
	@mkdir -p $(@D)
	$(if $(V),,@echo "  CC    $<")
	$(Q)$(CC) -std=c11 -Wall -Wextra -O2 -fPIC -shared -o $@ $<

.PHONY: bench
bench: $(B)/bin/bench $(LOAD:%=$(B)/bin/%) $(B)/bin/libcountio.so $(PROGRAMS:%=$(B)/bin/%) ## figures with their limits and bars, also in build/bench.json; ONLY=a figure (decode-int4) or decode-add, decode-add-cached, encode, decode, codec-large, topk, median, trimmed, nearest, krum, shards, ingest-small, codecs, peer-numpy, crc32c, ingest, ingest-full, ingest-batched, recovery, fsyncs, disk-writes, idle-connections, participants-5000, restart-5000, edge-memory, large-model, device-memory, binary-size, control-latency, sim-events, sim-million, train-2nn, train-cnn, train-torch
	@$(B)/bin/bench --json build/bench.json $(ONLY)

-include $(BENCH_OBJ:.o=.d) $(LOAD_OBJ:.o=.d)
