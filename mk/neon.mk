# make check-neon: the kernels and codecs built for 64-bit ARM by Debian's cross compiler, their tests run under qemu-user.
# They need no library of that machine: tests/cross stands in for cmocka and zstd, and nothing here reads YAML or digests.

N          := build/neon
NEON_CC    ?= aarch64-linux-gnu-gcc
NEON_RUN   ?= qemu-aarch64-static
NEON_SRC   := $(filter-out %_yaml.c,$(wildcard shared/base/*.c)) $(wildcard shared/kernels/*.c shared/codec/*.c tests/cross/*.c)
NEON_OBJ   := $(NEON_SRC:%.c=$(N)/%.o)
# Not those that need a schema, whose digests are libsodium's, or the real libzstd.
NEON_TESTS := $(patsubst %.c,$(N)/%,$(filter-out %/test_codec_layer.c %/test_codec_zstd.c,\
    $(wildcard tests/unit/test_kernels*.c tests/unit/test_codec*.c tests/conformance/test_codecs.c)))

.PHONY: check-neon

$(N)/%.o: %.c
	@mkdir -p $(@D)
	$(if $(V),,@echo "  NEON  $<")
	$(Q)$(NEON_CC) -std=c11 -O2 -g -Itests/cross $(CPPFLAGS) $(WARN) -ffp-contract=off -fno-math-errno \
	    -ffunction-sections -fdata-sections -MMD -MP -c $< -o $@

$(N)/libcodec.a: $(NEON_OBJ)
	$(Q)rm -f $@ && aarch64-linux-gnu-ar rcs $@ $^

$(NEON_TESTS): $(N)/%: $(N)/%.o $(N)/libcodec.a
	$(Q)$(NEON_CC) -static -Wl,--gc-sections -o $@ $^ -lm -lpthread

check-neon: $(NEON_TESTS) ## the kernels' and codecs' tests on 64-bit ARM, under qemu-user
	@set -e; for t in $^; do echo "  QEMU  $$t"; $(NEON_RUN) $$t > $$t.log 2>&1 || { tail -n 20 $$t.log; exit 1; }; \
	    echo "        $$(grep -c '^ok' $$t.log) passed"; done

-include $(NEON_OBJ:.o=.d) $(NEON_TESTS:%=%.d)
