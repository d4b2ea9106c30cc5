# fuzz.mk: the fuzz target: libFuzzer over the front end, the two forms and the passes. See fuzz/README.md.
#   make fuzz             until stopped; corpus in build/fuzz/corpus, findings in build/fuzz/finding-*
#   make fuzz-smoke       30 s from a fixed seed; fails as well when an operation, a pass or a mutator was never used
#   make fuzz-fault       builds with a fault in one pass (FAULT=algebra) and requires that it is found
#   make fuzz-faults      the same with every fault of the list
#   build/fuzz/optc-fuzz FILE   replays one input
#   make fuzz-lang        whole rules against the graph interpreter, until stopped; findings in build/fuzz-lang
#   make fuzz-lang-smoke  what was found once (tests/data/fuzz/*.opt), then 20 s from a fixed seed
#   make fuzz-lang-fault  builds with a fault in one lowering (LANG_FAULT=nest: to kernels; contract: to the graph) and requires that the right oracle finds it
#   build/asan/fuzz-language FILE   replays one rule
FUZZ      := $(BUILD)/fuzz
FUZZ_SRC  := $(wildcard fuzz/*.c)
FUZZ_SECONDS ?= 30
FUZZ_FLAGS = -timeout=20 -rss_limit_mb=4096 -max_len=4096 -dict=fuzz/opt.dict
FUZZ_LINK = $(CLANG) -fsanitize=fuzzer,address,undefined
FAULTS    := algebra fuse
FAULT     ?= algebra
FAULTY    := $(BUILD)/$(if $(filter algebra,$(FAULT)),fault,fault-$(FAULT))

.PHONY: fuzz fuzz-smoke fuzz-fault fuzz-faults fuzz-objects
fuzz: $(FUZZ)/optc-fuzz
	@mkdir -p $(FUZZ)/corpus
	OPTC_FUZZ_STATISTICS=1 $(FUZZ)/optc-fuzz $(FUZZ_FLAGS) -artifact_prefix=$(FUZZ)/finding- $(FUZZ)/corpus fuzz/seeds rules
fuzz-smoke: $(FUZZ)/optc-fuzz
	@rm -rf $(FUZZ)/smoke; mkdir -p $(FUZZ)/smoke
	@OPTC_FUZZ_STATISTICS=1 $(FUZZ)/optc-fuzz $(FUZZ_FLAGS) -seed=1 -max_total_time=$(FUZZ_SECONDS) -artifact_prefix=$(FUZZ)/finding- $(FUZZ)/smoke fuzz/seeds rules > $(FUZZ)/smoke.log 2>&1 \
	  && grep '^inputs' $(FUZZ)/smoke.log && ! grep '^never' $(FUZZ)/smoke.log || { tail -60 $(FUZZ)/smoke.log; exit 1; }
fuzz-fault: $(FAULTY)/fuzz/optc-fuzz
	@rm -rf $(FAULTY)/corpus; mkdir -p $(FAULTY)/corpus; : > $(FAULTY)/others; \
	for seed in 1 2 3 4 5 6; do \
	  $(FAULTY)/fuzz/optc-fuzz $(FUZZ_FLAGS) -seed=$$seed -max_total_time=60 -artifact_prefix=$(FAULTY)/finding- $(FAULTY)/corpus fuzz/seeds > $(FAULTY)/log 2>&1; \
	  grep -m1 'FINDING: $(FAULT):' $(FAULTY)/log && exit 0; \
	  grep -m1 -e 'FINDING: ' -e '^SUMMARY: ' $(FAULTY)/log | tee -a $(FAULTY)/others; \
	done; \
	echo "fuzz-fault: the fault in $(FAULT) was not found; found instead:"; cat $(FAULTY)/others; tail -40 $(FAULTY)/log; exit 1
fuzz-faults:
	@for f in $(FAULTS); do $(MAKE) --no-print-directory fuzz-fault FAULT=$$f || exit 1; done
	@for f in $(LANG_FAULTS); do $(MAKE) --no-print-directory fuzz-lang-fault LANG_FAULT=$$f || exit 1; done

# Comparisons guide the search in the front end only; what the interpreters do with data is no feedback about passes.
ifeq ($(MODE),fuzz)
NO_CMP     := -fno-sanitize-coverage=trace-cmp
NO_COUNTER := -fno-sanitize-coverage=trace-cmp,inline-8bit-counters,pc-table,indirect-calls,edge
$(BUILD)/obj/ir/%.o $(BUILD)/obj/passes/%.o: CFLAGS += $(NO_CMP)
$(BUILD)/obj/fuzz/%.o $(BUILD)/obj/tests/%.o: CFLAGS += $(NO_COUNTER)
$(foreach f,graph_interpret graph_blocks kernel_interpret graph_reduce matrix arena,$(BUILD)/obj/ir/$(f).o): CFLAGS += $(NO_COUNTER)
endif

# The rooms once more, instrumented, in a build folder of their own.
$(FUZZ)/optc-fuzz: fuzz-objects
	@$(MAKE) --no-print-directory BUILD=$(FUZZ)/rooms CC=$(CLANG) MODE=fuzz FUZZ_OUT=$@ fuzz-link
$(FAULTY)/fuzz/optc-fuzz: fuzz-objects
	@mkdir -p $(@D)
	@$(MAKE) --no-print-directory BUILD=$(FAULTY)/rooms CC=$(CLANG) MODE=fuzz EXTRA=-DOPTC_FAULT_$(shell echo $(FAULT) | tr a-z A-Z) FUZZ_OUT=$@ fuzz-link
fuzz-objects:
.PHONY: fuzz-link
fuzz-link: $(patsubst %.c,$(BUILD)/obj/%.o,$(FUZZ_SRC)) $(BUILD)/libpasses.a $(BUILD)/libfrontend.a $(BUILD)/libir.a
	@mkdir -p $(dir $(FUZZ_OUT))
	$(FUZZ_LINK) $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group -lm -o $(FUZZ_OUT)

# --- the language (fuzz/language): the rooms as `make asan` builds them, LLVM as it is -----------------------------------------------------
LANG_OBJ     := $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard fuzz/language/*.c))
LANG_BIN      = $(BUILD)/asan/fuzz-language
LANG_OUT     := $(BUILD)/fuzz-lang
LANG_FAULTS  := nest contract
LANG_FAULT   ?= nest
LANG_FAULTY  := $(BUILD)/fault-$(LANG_FAULT)
finds_nest     := -O0
finds_contract := evaluator
LANG_SECONDS ?= 20
.PHONY: fuzz-lang fuzz-lang-smoke fuzz-lang-fault fuzz-lang-build
fuzz-lang-build:
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/asan MODE=debug OPTC_BUILD_COMMAND= $(LANG_BIN)
fuzz-lang: fuzz-lang-build
	@mkdir -p $(LANG_OUT)
	ASAN_OPTIONS=detect_leaks=0 $(LANG_BIN) -findings=100 -out=$(LANG_OUT)
fuzz-lang-smoke: fuzz-lang-build
	@mkdir -p $(LANG_OUT)
	@ASAN_OPTIONS=detect_leaks=0 $(LANG_BIN) $(wildcard tests/data/fuzz/*.opt)
	@ASAN_OPTIONS=detect_leaks=0 $(LANG_BIN) -seed=1 -seconds=$(LANG_SECONDS) -out=$(LANG_OUT)
fuzz-lang-fault:
	@$(MAKE) --no-print-directory BUILD=$(LANG_FAULTY) EXTRA=-DOPTC_FAULT_$(shell echo $(LANG_FAULT) | tr a-z A-Z) OPTC_BUILD_COMMAND= $(LANG_FAULTY)/fuzz-language
	@if $(LANG_FAULTY)/fuzz-language -seed=1 -seconds=60 -out=$(LANG_FAULTY) > $(LANG_FAULTY)/log; then echo "fuzz-lang-fault: the fault in $(LANG_FAULT) was not found"; exit 1; \
	else grep -m1 'FINDING: $(finds_$(LANG_FAULT))' $(LANG_FAULTY)/log || { tail -40 $(LANG_FAULTY)/log; exit 1; }; fi
$(BUILD)/fuzz-language: $(LANG_OBJ) $(EVALUATOR) $(LIB)
	$(call say,LINK,$@)
	$(Q)g++ $(LDFLAGS) $(LANG_OBJ) $(EVALUATOR) -Wl,--start-group $(LIB) -Wl,--end-group -ljansson -lmpfr -lgmp $(LLVM_SHARED) $(GOMP) -lm -ldl -lpthread -o $@
