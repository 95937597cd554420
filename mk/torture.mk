# make torture: federations in which everything goes wrong, by the shipped roles and the real store on simulated disks, in
# tests/torture. DURATION=seconds, FEDERATIONS=at most so many, SEED=, ONE=the number of a federation that was reported.

TORTURE_OBJ := $(patsubst %.c,$(B)/%.o,$(wildcard tests/torture/*.c))
DURATION    ?= 360
FEDERATIONS ?= 0
SEED        ?= 1
ONE         ?=

$(B)/bin/torture: $(TORTURE_OBJ) $(SUP_OBJ) $(LIB)
	@mkdir -p $(@D)
	$(if $(V),,@echo "  LINK  $@")
	$(Q)$(CC) -o $@ $^ $(LDFLAGS) -lcmocka $(LIBS)

.PHONY: torture mutants

torture: $(B)/bin/torture ## federations in which everything goes wrong; DURATION=360 seconds, SEED=1, FEDERATIONS=, ONE=number
	@$< $(if $(ONE),--one $(ONE),--seed $(SEED) --duration $(DURATION) --federations $(FEDERATIONS))

mutants: export COMPILE = $(CC) $(CPPFLAGS) $(ALL_CFLAGS)
mutants: export LINK = $(CC) $(TORTURE_OBJ) $(SUP_OBJ) $(LIB) $(LDFLAGS) -lcmocka $(LIBS)
mutants: $(B)/bin/torture ## plants the bugs of tests/torture/mutants one by one: torture must find each; ONLY=part-of-a-name
	@tests/torture/mutants/run $(if $(ONLY),--only '$(ONLY)')

-include $(TORTURE_OBJ:.o=.d)
