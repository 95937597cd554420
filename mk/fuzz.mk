# make fuzz: every tests/fuzz/fuzz_*.c as a libFuzzer program of its own, started from tests/vectors.
#   SECONDS=10 each, ONLY=part-of-a-name, SEED=1 (0: another each time); a crash leaves its input in build/fuzz/crash-NAME-*
# What a run finds interesting stays in build/fuzz/corpus, and the next one goes on from there.

SECONDS    ?= 10
F          := build/fuzz
FUZZ_SRC   := $(wildcard tests/fuzz/fuzz_*.c)
FUZZERS    := $(patsubst tests/fuzz/%.c,$(F)/%,$(FUZZ_SRC))
FUZZ_OBJ   := $(LIB_SRC:%.c=$(F)/obj/%.o)
FUZZ_SAN   := address,undefined
FUZZ_FLAGS := -fsanitize=fuzzer-no-link,$(FUZZ_SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer

FUZZ_CHOSEN := $(if $(ONLY),$(foreach f,$(FUZZERS),$(if $(findstring $(ONLY),$(f)),$(f))),$(FUZZERS))

.PHONY: fuzz fuzz-programs

$(F)/obj/%_avx2.o: KFLAGS := -mavx2 -mf16c
$(F)/obj/%_avx512.o: KFLAGS := -mavx512f -mavx512bw -mavx512dq -mavx512vl

$(F)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(if $(V),,@echo "  FUZZ  $<")
	$(Q)clang $(CPPFLAGS) $(ALL_CFLAGS) -O1 $(FUZZ_FLAGS) $(KFLAGS) -MMD -MP -c $< -o $@

$(F)/libtributary.a: $(FUZZ_OBJ)
	$(Q)rm -f $@ && ar rcs $@ $^

$(FUZZERS): $(F)/%: $(F)/obj/tests/fuzz/%.o $(F)/libtributary.a
	$(if $(V),,@echo "  LINK  $@")
	$(Q)clang -o $@ $^ -fsanitize=fuzzer,$(FUZZ_SAN) $(LDFLAGS) $(BLAS) $(LIBS)

$(F)/corpus/.made: tests/fuzz/seeds.py $(wildcard tests/vectors/*.hex) tests/vectors/codecs.txt $(F)/fuzz_codec
	@mkdir -p $(@D)
	$(Q)$(F)/fuzz_codec --specs > $(F)/specs.txt && tests/fuzz/seeds.py $(@D) < $(F)/specs.txt && touch $@

fuzz-programs: $(FUZZERS)

fuzz: $(FUZZ_CHOSEN) $(F)/corpus/.made ## fuzz every decoder with clang's libFuzzer; SECONDS=10 each, ONLY=part-of-a-name, SEED=1
	@set -e; for f in $(FUZZ_CHOSEN); do \
	    name=$${f##*/fuzz_}; mkdir -p $(F)/corpus/$$name; \
	    if $$f -seed=$(SEED) -max_total_time=$(SECONDS) -timeout=30 -rss_limit_mb=1024 -malloc_limit_mb=256 \
	        -artifact_prefix=$(F)/crash-$$name- $(F)/corpus/$$name > $(F)/$$name.log 2>&1; \
	    then echo "  fuzz  $$name: $$(sed -n 's/^Done \([0-9]*\) runs in \([0-9]*\).*/\1 inputs in \2 s, none broke it/p' $(F)/$$name.log)"; \
	    else tail -n 40 $(F)/$$name.log; echo "  fuzz  $$name: FAILED; see $(F)/$$name.log"; exit 1; fi; \
	done

-include $(FUZZ_OBJ:.o=.d) $(FUZZ_SRC:%.c=$(F)/obj/%.d)
