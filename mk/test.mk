# make test: unit, conformance, vectors and fault programs, and, without SAN, the system tests on the real daemons.

ONLY    ?=
# Time limits are there to end what hangs: a loaded machine, and a sanitizer, take several times as long as an idle one.
SLOW    ?= $(if $(SAN),8,4)
# JITTER=2: system tests and their daemons are held up at random, up to so many seconds, as on a busy machine (tests/run).
JITTER  ?= 0
SYSTEM  := $(if $(SAN),,$(wildcard tests/system/test_*.py tests/system/test_*.sh))
# ONLY=name builds and runs only what has the name in its path.
matching = $(if $(ONLY),$(foreach t,$(1),$(if $(findstring $(ONLY),$(t)),$(t))),$(1))
# Long ones that start no thread: the thread sanitizer has nothing to see in them.
ALONE := rules_walk federation_codecs federation_tensors federation_damage federation_training federation_rules federation_local \
         sim_conditions spool clocks codec quantise store_fault store_damage
CHOSEN_PROGRAMS := $(call matching,$(if $(filter thread,$(SAN)),$(filter-out $(ALONE:%=\%/test_%),$(TESTS)),$(TESTS)))
CHOSEN_SYSTEM   := $(call matching,$(SYSTEM))

# OpenBLAS is not instrumented, so threads of its own would look like races; the programs have none either.
# An allocation that is refused is a case the fault tests provoke, so malloc returns NULL there as it does without SAN.
SAN_ENV := ASAN_OPTIONS=allocator_may_return_null=1:strict_string_checks=1 \
           UBSAN_OPTIONS=print_stacktrace=1 OPENBLAS_NUM_THREADS=1 \
           TSAN_OPTIONS=suppressions=$(CURDIR)/tests/tsan.supp:second_deadlock_stack=1:history_size=4

.PHONY: test test-programs check-valgrind

test-programs: $(TESTS)

test: $(CHOSEN_PROGRAMS) $(if $(CHOSEN_SYSTEM),$(PROGRAMS:%=$(B)/bin/%) $(B)/faults.so) $(if $(filter %/test_bench.py,$(CHOSEN_SYSTEM)),$(B)/bin/bench) ## build and run all tests; ONLY=part-of-a-name, SAN=address,undefined or thread, SLOW=factor of time limits, JITTER=seconds
	@$(if $(SAN),$(SAN_ENV)) tests/run --bin $(B)/bin --slow $(SLOW) --jitter $(JITTER) $(if $(ONLY),--only '$(ONLY)') \
	    $(CHOSEN_PROGRAMS) $(CHOSEN_SYSTEM)

check-valgrind: $(CHOSEN_PROGRAMS) ## the test programs under valgrind (slow)
	@set -e; for t in $(CHOSEN_PROGRAMS); do echo "  VALGRIND $$t"; \
	    valgrind -q --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite $$t; done
