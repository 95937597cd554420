# 64-bit ARM from another machine: Debian's cross compiler, Debian's arm64 libraries unpacked in build/arm64/root (nothing is
# installed), and qemu-user to run what was built.

A          := build/arm64
ARM64_CC   ?= aarch64-linux-gnu-gcc
ARM64_RUN  ?= qemu-aarch64-static
ARM64_MAKE  = $(MAKE) --no-print-directory CC=$(ARM64_CC) CONFIG=$(notdir $(A)) SYSROOT=$(A)/root SAN=
# Not those that take minutes under qemu, most of them by training; nor test_blas, which starts itself again by /proc/PID/exe
# (that is qemu there), and test_gate, one case of which fails under qemu-user for a reason that is not known.
ARM64_SLOW := federation_auto federation_codecs federation_damage federation_local federation_tensors federation_training \
    local quantise shakespeare sim sim_fleet sim_resume synthetic train
ARM64_NOT  := $(patsubst %,test_%.c,$(ARM64_SLOW) blas gate)
# The longest one first. ONLY=part-of-a-name chooses.
ARM64_TESTS = $(call matching,$(patsubst %.c,$(A)/%,$(filter-out $(addprefix %/,$(ARM64_NOT)) tests/fault/%,\
    tests/unit/test_codec.c $(TEST_SRC))))

.PHONY: arm64-root arm64 check-arm64 check-neon

$(A)/root/.made: deploy/arm64-root deploy/apt.sh deploy/packages
	@mkdir -p $(A)
	@deploy/arm64-root $(@D) || { echo "Debian's arm64 packages cannot be had here (see above); without them there is" \
	    "only make check-neon: kernels and codecs" >&2; exit 1; }
	@touch $@

arm64-root: $(A)/root/.made

arm64: arm64-root ## the four programs for 64-bit ARM, in build/arm64/bin, with Debian's libraries for it fetched
	@$(ARM64_MAKE) all

check-arm64: arm64 $(B)/bin/tributary ## the tests built for 64-bit ARM, under qemu-user: the same bits as here
	@$(ARM64_MAKE) $(ARM64_TESTS)
	@tests/run --bin $(A)/bin --slow $(SLOW) --under "$(ARM64_RUN) -L $(A)/root" $(ARM64_TESTS)
	@tests/cross/simulate $(B)/bin/tributary $(ARM64_RUN) -L $(A)/root $(A)/bin/tributary

# Where there are no packages: the kernels and codecs need no library of that machine. tests/cross stands in for cmocka and
# zstd, and nothing here reads YAML or digests.
N          := build/neon
NEON_SRC   := $(filter-out %_yaml.c,$(wildcard shared/base/*.c)) $(wildcard shared/kernels/*.c shared/codec/*.c tests/cross/*.c)
NEON_OBJ   := $(NEON_SRC:%.c=$(N)/%.o)
# Not those that need a schema, whose digests are libsodium's, or the real libzstd.
NEON_TESTS := $(patsubst %.c,$(N)/%,$(filter-out %/test_codec_layer.c %/test_codec_zstd.c,\
    $(wildcard tests/unit/test_kernels*.c tests/unit/test_codec*.c tests/conformance/test_codecs.c)))

$(N)/%.o: %.c
	@mkdir -p $(@D)
	$(if $(V),,@echo "  NEON  $<")
	$(Q)$(ARM64_CC) -std=c11 -O2 -g -Itests/cross $(CPPFLAGS) $(WARN) -ffp-contract=off -fno-math-errno \
	    -ffunction-sections -fdata-sections -MMD -MP -c $< -o $@

$(N)/libcodec.a: $(NEON_OBJ)
	$(Q)rm -f $@ && aarch64-linux-gnu-ar rcs $@ $^

$(NEON_TESTS): $(N)/%: $(N)/%.o $(N)/libcodec.a
	$(Q)$(ARM64_CC) -static -Wl,--gc-sections -o $@ $^ -lm -lpthread

check-neon: $(NEON_TESTS) ## the kernels' and codecs' tests alone on 64-bit ARM, where its packages cannot be had
	@set -e; for t in $^; do echo "  QEMU  $$t"; $(ARM64_RUN) $$t > $$t.log 2>&1 || { tail -n 20 $$t.log; exit 1; }; \
	    echo "        $$(grep -c '^ok' $$t.log) passed"; done

-include $(NEON_OBJ:.o=.d) $(NEON_TESTS:%=%.d)
