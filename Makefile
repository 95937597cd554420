# Tributary: one Makefile, out of tree in build/. `make help` lists what there is.
#   CC=gcc|clang   SAN=address,undefined|thread   V=1 shows the commands

SHELL   := /bin/bash
CC      := $(if $(filter default,$(origin CC)),gcc,$(CC))
SAN     ?=
comma   := ,
CONFIG  := $(notdir $(CC))$(if $(SAN),-$(subst $(comma),-,$(SAN)))
B       := build/$(CONFIG)
Q       := $(if $(V),,@)
VERSION := $(shell cat VERSION)
ARCH    := $(firstword $(subst -, ,$(shell $(CC) -dumpmachine)))
PREFIX  ?= /usr/local

# CC=aarch64-linux-gnu-gcc takes that machine's libraries: Debian's multiarch packages, or those below SYSROOT (mk/arm64.mk).
CROSS      := $(patsubst %-gcc,%,$(filter %-linux-gnu-gcc %-linux-gnueabihf-gcc,$(notdir $(CC))))
SYSROOT    ?=
PKG_CONFIG ?= $(if $(SYSROOT),PKG_CONFIG_SYSROOT_DIR=$(SYSROOT) )$(if \
    $(CROSS),PKG_CONFIG_LIBDIR=$(SYSROOT)/usr/lib/$(CROSS)/pkgconfig:$(SYSROOT)/usr/share/pkgconfig )pkg-config
AR         := $(if $(CROSS),$(CROSS)-)ar
PKGS     := libzmq msgpack sqlite3 libsodium yaml-0.1 zlib libzstd
PKG_CFLAGS := $(shell $(PKG_CONFIG) --cflags $(PKGS))
CFLAGS   ?= -O2 -g
WARN     := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wvla -Werror
CPPFLAGS += -I. -D_GNU_SOURCE -DTRIB_VERSION='"$(VERSION)"' -D_FILE_OFFSET_BITS=64
ALL_CFLAGS = -std=c11 $(CFLAGS) $(WARN) -ffp-contract=off -fno-math-errno -fstack-protector-strong \
             -ffunction-sections -fdata-sections $(PKG_CFLAGS) $(SANFLAGS) $(SYSFLAGS)
SANFLAGS := $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=all)
SYSFLAGS := $(if $(SYSROOT),--sysroot=$(SYSROOT))
LDFLAGS  += -Wl,--gc-sections -Wl,--as-needed -Wl,-z,relro,-z,now $(SANFLAGS) $(SYSFLAGS)
LIBS     := $(shell $(PKG_CONFIG) --libs $(PKGS)) -lm -lpthread
# Asked for when something links it: an edge is built where there is none.
BLAS      = $(shell $(PKG_CONFIG) --libs openblas)

LIB_SRC  := $(wildcard shared/*/*.c)
LIB_OBJ  := $(LIB_SRC:%.c=$(B)/%.o)
LIB      := $(B)/libtributary.a
SUP_OBJ  := $(patsubst %.c,$(B)/%.o,$(wildcard tests/support/*.c))
PROGRAMS := tributary-device tributary-edge tributary-cloud tributary
DIR_tributary-device := device
DIR_tributary-edge   := edge
DIR_tributary-cloud  := cloud
DIR_tributary        := cli
# The edge links no BLAS: it never trains.
LIBS_tributary-device = $(BLAS)
LIBS_tributary-cloud  = $(BLAS)
LIBS_tributary        = $(BLAS)
TEST_SRC := $(wildcard $(foreach d,unit conformance vectors fault,tests/$(d)/test_*.c))
TESTS    := $(TEST_SRC:%.c=$(B)/%)

.DEFAULT_GOAL := all
.PHONY: all help clean
.SECONDARY:

all: $(PROGRAMS:%=$(B)/bin/%) ## build the four programs into build/gcc/bin

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):[^#]*## /  make \1|/' | column -t -s'|'

$(B)/%.o: %.c
	@mkdir -p $(@D)
	$(if $(V),,@echo "  CC    $<")
	$(Q)$(CC) $(CPPFLAGS) $(ALL_CFLAGS) $(KFLAGS) -MMD -MP -c $< -o $@

# On other processors these files are empty.
ifeq ($(ARCH),x86_64)
$(B)/shared/kernels/%_avx2.o: KFLAGS := -mavx2 -mf16c
$(B)/shared/kernels/%_avx512.o: KFLAGS := -mavx512f -mavx512bw -mavx512dq -mavx512vl
endif

$(LIB): $(LIB_OBJ)
	$(if $(V),,@echo "  AR    $@")
	$(Q)rm -f $@ && $(AR) rcs $@ $^

define program
$(B)/bin/$(1): $$(patsubst %.c,$(B)/%.o,$$(wildcard $(DIR_$(1))/*.c)) $(LIB)
	@mkdir -p $$(@D)
	$(if $(V),,@echo "  LINK  $$@")
	$(Q)$(CC) -o $$@ $$^ $(LDFLAGS) $$(LIBS_$(1)) $(LIBS)
endef
$(foreach p,$(PROGRAMS),$(eval $(call program,$(p))))

$(TESTS): $(B)/%: $(B)/%.o $(SUP_OBJ) $(LIB)
	$(if $(V),,@echo "  LINK  $@")
	$(Q)$(CC) -o $@ $^ $(LDFLAGS) -lcmocka $(BLAS) $(LIBS)

clean: ## remove build/ (fetched data and run/ stay)
	rm -rf build

-include $(LIB_OBJ:.o=.d) $(SUP_OBJ:.o=.d) $(TESTS:=.d)
-include $(foreach p,$(PROGRAMS),$(patsubst %.c,$(B)/%.d,$(wildcard $(DIR_$(p))/*.c)))
-include mk/*.mk
