# optc: `make help` lists the doors. Every generated file goes below $(BUILD).
BUILD    ?= build
CC       ?= gcc
CLANG    ?= clang-19
LLVM     ?= llvm-config-19
RE2C     ?= re2c
LEMON    ?= lemon
PREFIX   ?= /usr/local
LIBDIR   ?= $(PREFIX)/lib
VERSION  := 0.1.0

V        ?= 0
Q        := $(if $(filter 0,$(V)),@,)
say       = $(if $(filter 0,$(V)),@echo '  $(1)  $(2)';)

MODE     ?= release
WARN     := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wno-unused-parameter -Werror
STRICT   := -ffp-contract=off -fno-fast-math -fexcess-precision=standard
OPT_release := -O2 -g1
OPT_debug   := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -DOPTC_DEBUG
OPT_coverage := -O1 -g1 --coverage
OPT_fuzz  := -O2 -g1 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -DOPTC_DEBUG -Wno-unknown-warning-option
CFLAGS   := -std=gnu11 $(OPT_$(MODE)) $(WARN) $(STRICT) -fPIC -fvisibility=hidden -MMD -MP -I. -iquote ir -I$(BUILD)/gen -DOPTC_VERSION='"$(VERSION)"' $(EXTRA)
LDFLAGS_debug := -fsanitize=address,undefined
LDFLAGS_coverage := --coverage
LDFLAGS  := $(LDFLAGS_$(MODE))
LLVM_CFLAGS = -isystem $(shell $(LLVM) --includedir)
LLVM_SHARED = -L$(shell $(LLVM) --libdir) -lLLVM-19
LLVM_ARCHIVES = $(shell $(LLVM) --ldflags) $(shell $(LLVM) --link-static --libs x86 aarch64 nvptx orcjit passes linker bitreader)
LLVM_STATIC = $(LLVM_ARCHIVES) \
              -Wl,--as-needed $(shell $(LLVM) --link-static --system-libs) -Wl,--no-as-needed

# GCC's OpenMP by its path: LLVM's folder may hold another one of the same name. The command carries all but the C library: each shared library
# costs it 0.1 to 0.2 ms at its start.
GOMP        = $(shell $(CC) -print-file-name=libgomp.so)
GOMP_STATIC = $(shell $(CC) -print-file-name=libgomp.a)

# LLVM's headers are in sight here and nowhere else.
LLVM_WING := $(wildcard backends/*.c) runtime/jit.c runtime/cache.c runtime/version.c

# --- rooms: a static library each; arrows point one way -----------------------------------------------------------
ROOMS    := ir frontend passes ptx backends runtime
SRC_ir       := $(wildcard ir/*.c)
SRC_frontend := $(wildcard frontend/*.c) $(BUILD)/gen/frontend/lexer.c $(BUILD)/gen/frontend/grammar.c
SRC_passes   := $(wildcard passes/*.c)
SRC_ptx      := $(wildcard backends/ptx/*.c) $(BUILD)/gen/backends/ptx/ptx_lexer.c $(BUILD)/gen/backends/ptx/ptx_grammar.c
SRC_backends := $(wildcard backends/*.c)
SRC_runtime  := $(filter-out runtime/command%.c,$(wildcard runtime/*.c))
objects   = $(patsubst $(BUILD)/gen/%.c,$(BUILD)/obj/gen/%.o,$(patsubst %.c,$(BUILD)/obj/%.o,$(filter-out $(BUILD)/%,$(1))) $(filter $(BUILD)/%,$(1)))
OBJ_ir       := $(call objects,$(SRC_ir))
OBJ_frontend := $(call objects,$(SRC_frontend))
OBJ_passes   := $(call objects,$(SRC_passes))
OBJ_ptx      := $(call objects,$(SRC_ptx))
OBJ_backends := $(call objects,$(SRC_backends)) $(BUILD)/obj/backends/embed.o
OBJ_runtime  := $(call objects,$(SRC_runtime))
OBJ_command  := $(call objects,$(wildcard runtime/command*.c))
LIB          := $(foreach r,$(ROOMS),$(BUILD)/lib$(r).a)

# --- what the build needs is looked for first, and installed where that is allowed ---------------------------------------
.DEFAULT_GOAL := all
NO_DEPS  := help clean format
TESTED   := $(filter check% fuzz% asan coverage,$(MAKECMDGOALS))
DEPS     := $(BUILD)/deps$(if $(TESTED),-tests).mk
ifneq ($(filter-out $(NO_DEPS),$(or $(MAKECMDGOALS),all)),)
-include $(DEPS)
$(DEPS): .ci/install-deps
	@.ci/install-deps $(if $(TESTED),--tests) && mkdir -p $(@D) && touch $@
endif

# --- what objects were made with: another compiler, MODE or EXTRA makes them anew --------------------------------------------
FLAGS        := $(BUILD)/flags
export FLAGS_NOW := $(CC) $(CLANG) $(LLVM) $(CFLAGS) $(LDFLAGS)
ifneq ($(filter-out $(NO_DEPS),$(or $(MAKECMDGOALS),all)),)
ifneq ($(FLAGS_NOW),$(file <$(FLAGS)))
$(shell mkdir -p $(BUILD))$(file >$(FLAGS),$(FLAGS_NOW))
endif
endif
$(FLAGS):
	@mkdir -p $(@D) && printf '%s\n' "$$FLAGS_NOW" > $@

.PHONY: all
all: $(BUILD)/optc $(BUILD)/liboptc.so $(BUILD)/liboptc.a

define ROOM_RULE
$(BUILD)/lib$(1).a: $$(OBJ_$(1))
	@rm -f $$@; ar rcs $$@ $$^
endef
$(foreach r,$(ROOMS),$(eval $(call ROOM_RULE,$(r))))

$(BUILD)/obj/%.o: %.c $(FLAGS)
	@mkdir -p $(@D)
	$(call say,CC  ,$<)
	$(Q)$(CC) $(CFLAGS) $(if $(filter $(LLVM_WING),$<),$(LLVM_CFLAGS)) -c $< -o $@
$(BUILD)/obj/gen/%.o: $(BUILD)/gen/%.c $(FLAGS)
	@mkdir -p $(@D)
	$(call say,CC  ,$<)
	$(Q)$(CC) $(CFLAGS) -Wno-unused-variable -Wno-unused-function -Wno-missing-prototypes -Wno-shadow -c $< -o $@
# A lexer (re2c) and a grammar (Lemon) of a room: folder, lexer, grammar.
define LANGUAGE_RULE
$(BUILD)/gen/$(1)/$(2).c: $(1)/$(2).re $(BUILD)/gen/$(1)/$(3).h
	@mkdir -p $$(@D)
	$(Q)$(RE2C) -W --no-debug-info -o $$@ $$<
$(BUILD)/gen/$(1)/$(3).c $(BUILD)/gen/$(1)/$(3).h &: $(1)/$(3).y
	@mkdir -p $$(@D)
	$(Q)$(LEMON) -q -l -d$$(@D) $$<
endef
$(eval $(call LANGUAGE_RULE,frontend,lexer,grammar))
$(eval $(call LANGUAGE_RULE,backends/ptx,ptx_lexer,ptx_grammar))
$(OBJ_frontend): | $(BUILD)/gen/frontend/grammar.h
$(OBJ_ptx): | $(BUILD)/gen/backends/ptx/ptx_grammar.h

# --- the driver, once for each architecture, as machine code that every object carries --------------------------------------
# Compiled with its constants beside its code, so that nothing in it needs the linker: the back end pastes it in as data, which takes no time
# (generating it anew would take three times as long as the rule's own kernels). driver.c includes all of its files; driver_<arch>.s defines optc_drive*.
DRIVER_FLAGS := -std=gnu11 -Os -ffreestanding -fno-builtin -fPIC -fvisibility=hidden -ffp-contract=off -fno-unwind-tables -fno-asynchronous-unwind-tables \
  -fno-stack-protector -fno-jump-tables -fno-vectorize -fno-slp-vectorize -fno-unroll-loops -I. -DDRIVE_LOCAL=static -Wall -Wextra -Werror -Wno-unused-parameter
DRIVER_FLAGS_aarch64 := -mcmodel=tiny -mno-outline -mno-outline-atomics
LLVM_TOOL = $(shell $(LLVM) --bindir)/llvm-
DRIVER := $(wildcard backends/driver*.c)
$(BUILD)/gen/backends/driver.c: $(DRIVER)
	@mkdir -p $(@D)
	@printf '#include "%s"\n' $^ > $@
$(BUILD)/gen/backends/driver_%.s: $(BUILD)/gen/backends/driver.c $(DRIVER) backends/driver.h ir/frame.h ir/desc.def ir/optc_abi.h backends/driver.awk
	$(call say,CC  ,the driver for $*)
	$(Q)$(CLANG) --target=$*-unknown-linux-gnu $(DRIVER_FLAGS) $(DRIVER_FLAGS_$*) -S $< -o $(@:.s=.code.s)
	@sed 's/^[[:space:]]*\.section[[:space:]]*\.rodata.*/\t.text/' $(@:.s=.code.s) > $(@:.s=.one.s)
	@$(CLANG) --target=$*-unknown-linux-gnu -c $(@:.s=.one.s) -o $(@:.s=.o)
	@if $(LLVM_TOOL)readelf -r $(@:.s=.o) | grep R_ ; then echo "the driver has relocations"; exit 1; fi
	@$(LLVM_TOOL)objcopy -O binary -j .text $(@:.s=.o) $(@:.s=.bin)
	@($(LLVM_TOOL)nm --defined-only $(@:.s=.o) | grep ' T '; od -An -v -w64 -to1 $(@:.s=.bin)) | awk -f backends/driver.awk > $@.new && mv $@.new $@
$(BUILD)/obj/backends/embed.o: backends/embed.S $(BUILD)/gen/backends/driver_x86_64.s $(BUILD)/gen/backends/driver_aarch64.s ir/optc_abi.h
	@mkdir -p $(@D)
	$(Q)$(CC) -I. -I$(BUILD)/gen -c $< -o $@

# --- what the cache of compiled rules is keyed by beside the rule itself: everything that makes code ------------------------
$(BUILD)/gen/runtime/build_id.h: $(wildcard ir/* frontend/* passes/* backends/*.*) runtime/build.c runtime/compile.c
	@mkdir -p $(@D)
	@echo "#define OPTC_BUILD_ID \"$$(cat $(sort $^) | sha256sum | cut -c1-32)\"" > $@
$(BUILD)/obj/runtime/compile.o: $(BUILD)/gen/runtime/build_id.h
$(BUILD)/obj/runtime/parallel_openmp.o: CFLAGS += -fopenmp

# --- products ---------------------------------------------------------------------------------------------------------
$(BUILD)/liboptc.a: $(LIB)
	@rm -f $@; for l in $^; do echo "ADDLIB $$l"; done | (echo "CREATE $@"; cat; echo SAVE; echo END) | ar -M
$(BUILD)/optc: $(OBJ_command) $(LIB)
	$(call say,LINK,$@)
	$(Q)g++ -no-pie $(LDFLAGS) $(OBJ_command) -Wl,--start-group $(LIB) -Wl,--end-group -static-libstdc++ -static-libgcc \
	  $(LLVM_ARCHIVES) -Wl,-Bstatic -lz -lzstd -ljansson -Wl,-Bdynamic $(GOMP_STATIC) -lm -ldl -lpthread -Wl,--gc-sections -o $@
$(BUILD)/liboptc.so: $(LIB) runtime/liboptc.map
	$(call say,LINK,$@)
	$(Q)g++ -shared $(LDFLAGS) -Wl,--whole-archive $(LIB) -Wl,--no-whole-archive -static-libstdc++ -static-libgcc $(LLVM_STATIC) -ljansson $(GOMP) -lm \
	  -Wl,--version-script=runtime/liboptc.map -Wl,-soname,liboptc.so.0 -Wl,--gc-sections -o $@

# --- tests: tests/<room>_<what>_test.c links that room and the rooms below it ----------------------------------------------
TESTS    := $(sort $(wildcard tests/*_test.c))
TEST_BIN := $(TESTS:tests/%.c=$(BUILD)/tests/%)
needs_ir       := ir
needs_frontend := frontend ir
needs_passes   := passes frontend ir
needs_backends := backends ptx passes frontend ir
needs_runtime  := runtime backends ptx passes frontend ir
room_of   = $(firstword $(subst _, ,$(notdir $(1))))
TEST_SUPPORT := $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard tests/support/*.c))
include tests/evaluator/evaluator.mk tests/cuda/cuda.mk tests/nest/nest.mk
.SECONDEXPANSION:
$(BUILD)/tests/%: $(BUILD)/obj/tests/%.o $(TEST_SUPPORT) $$(extra_$$*) $$(foreach r,$$(needs_$$(call room_of,$$*)),$(BUILD)/lib$$r.a)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)g++ $(LDFLAGS) $< $(TEST_SUPPORT) $(extra_$*) -Wl,--start-group $(foreach r,$(needs_$(call room_of,$*)),$(BUILD)/lib$r.a) -Wl,--end-group -lcunit -ljansson $(libs_$*) \
	  $(if $(filter backends runtime,$(call room_of,$*)),$(LLVM_SHARED) $(GOMP)) -lm -ldl -lpthread -o $@
.PRECIOUS: $(BUILD)/obj/tests/%.o
tests: $(TEST_BIN)

include tests/check.mk tests/quality.mk tests/accuracy/accuracy.mk tests/bench/bench.mk runtime/demo/demo.mk runtime/install.mk fuzz/fuzz.mk

.PHONY: help clean tests docs
help:
	@printf '%s\n' \
	  'make                 build/optc, build/liboptc.so, build/liboptc.a' \
	  'make demo            compile rules/adamw.opt and train a small model with it (RULE=lion for another rule, GPU=1: its optimizer on an NVIDIA GPU)' \
	  'make check           install what is missing, build, run every test; ends with "N passed, N failed"' \
	  'make asan            the unit tests under AddressSanitizer and UBSan' \
	  'make fuzz            the fuzz target, until stopped (make fuzz-smoke: 30 s from a fixed seed; make fuzz-lang: whole rules)' \
	  'make bench           measure against the best alternatives; writes build/bench.json (QUICK=1, PEERS=1)' \
	  'make accuracy        every f32 input of every elementary function against a reference; writes build/accuracy.md' \
	  'make format          trailing blanks, tabs and line ends of changed files' \
	  'make lint            what clang warns of beyond the build (ANALYZE=1: its static analyser too)' \
	  'make coverage        lines of each room that the unit tests run (COVERED="SUITE...")' \
	  'make docs            write the gallery of rules/README.md anew' \
	  'make install         PREFIX=/usr/local DESTDIR=' \
	  'make clean           remove $(BUILD)'
clean:
	rm -rf $(BUILD)
docs:
	$(Q)sh tests/tools/gallery.sh

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
