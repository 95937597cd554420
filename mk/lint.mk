# make lint: format, structure, clang-tidy, cppcheck. Each file's clang-tidy result is kept until the file, a header that it
# includes, or .clang-tidy changes.

LINT_DIRS := shared device edge cloud cli tests
LINT_C    := $(sort $(wildcard $(foreach d,shared/*/ device/ edge/ cloud/ cli/ tests/*/,$(d)*.c)))
LINT_H    := $(sort $(wildcard $(foreach d,shared/*/ device/ edge/ cloud/ cli/ tests/*/,$(d)*.h)))
# The tests' setjmp.h and the fuzz targets add nothing that the analyser would find; the compilers see them.
TIDY_C    := $(filter-out tests/%,$(LINT_C))
TIDY_DONE := $(TIDY_C:%.c=build/lint/%.tidy)

.PHONY: lint lint-format lint-structure lint-tidy lint-cppcheck format

lint: lint-format lint-structure lint-tidy lint-cppcheck ## clang-format, structure rules, clang-tidy, cppcheck
	@echo "lint: clean"

format: ## rewrite the C files as .clang-format wants them
	clang-format -i $(LINT_C) $(LINT_H)

lint-format:
	@echo "  FORMAT    $(words $(LINT_C) $(LINT_H)) files"
	@bad=$$(for f in $(LINT_C) $(LINT_H); do clang-format $$f | cmp -s - $$f || echo "  $$f"; done); \
	    [ -z "$$bad" ] || { echo "not as .clang-format wants them (make format):"; echo "$$bad"; exit 1; }

lint-structure:
	@echo "  STRUCTURE"
	@tests/lint/structure
	@tests/torture/mutants/run --apply

lint-tidy: $(TIDY_DONE)

TIDY_FLAGS = $(CPPFLAGS) -std=c11 $(filter-out -Werror,$(WARN)) $(shell $(PKG_CONFIG) --cflags $(PKGS) openblas)

build/lint/%.tidy: %.c .clang-tidy
	@mkdir -p $(@D)
	@echo "  TIDY      $<"
	@clang-tidy --quiet $< -- $(TIDY_FLAGS) $(TIDY_EXTRA) 2>$@.log || { cat $@.log; rm -f $@.log; exit 1; }
	@rm -f $@.log
	@$(CC) $(CPPFLAGS) $(shell $(PKG_CONFIG) --cflags $(PKGS) openblas) -MM -MP -MT $@ -MF $@.d $<
	@touch $@

build/lint/shared/kernels/%_avx2.tidy: TIDY_EXTRA := -mavx2 -mf16c
build/lint/shared/kernels/%_avx512.tidy: TIDY_EXTRA := -mavx512f -mavx512bw -mavx512dq -mavx512vl

lint-cppcheck:
	@echo "  CPPCHECK"
	@mkdir -p build/lint/cppcheck
	@cppcheck --quiet --error-exitcode=1 --enable=warning,performance,portability --std=c11 --inline-suppr \
	    --suppressions-list=tests/lint/cppcheck.supp --cppcheck-build-dir=build/lint/cppcheck --include=$(firstword $(wildcard /usr/include/*/sys/queue.h)) -I. -DTRIB_VERSION='""' \
	    -D__x86_64__ -j2 $(TIDY_C)

-include $(TIDY_DONE:=.d)
