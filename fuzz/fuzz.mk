# fuzz.mk: the fuzz target: libFuzzer over the front end, the two forms and the passes.
#   make fuzz             until stopped; corpus in build/fuzz/corpus, findings in build/fuzz/finding-*
#   make fuzz-smoke       30 s from a fixed seed
#   make fuzz-fault       builds with a fault in one pass (OPTC_FAULT=algebra) and requires that it is found
#   build/fuzz/optc-fuzz FILE   replays one input
FUZZ      := $(BUILD)/fuzz
FUZZ_SRC  := $(wildcard fuzz/*.c)
FUZZ_SECONDS ?= 30
FUZZ_LINK = $(CLANG) -fsanitize=fuzzer,address,undefined

.PHONY: fuzz fuzz-smoke fuzz-fault fuzz-objects
fuzz: $(FUZZ)/optc-fuzz
	@mkdir -p $(FUZZ)/corpus
	$(FUZZ)/optc-fuzz -artifact_prefix=$(FUZZ)/finding- -timeout=20 -rss_limit_mb=4096 $(FUZZ)/corpus fuzz/seeds
fuzz-smoke: $(FUZZ)/optc-fuzz
	@mkdir -p $(FUZZ)/smoke
	@$(FUZZ)/optc-fuzz -seed=1 -max_total_time=$(FUZZ_SECONDS) -timeout=20 -rss_limit_mb=4096 -print_final_stats=1 -artifact_prefix=$(FUZZ)/finding- $(FUZZ)/smoke fuzz/seeds > $(FUZZ)/smoke.log 2>&1 \
	  && grep -E 'number_of_executed_units|new_units_added' $(FUZZ)/smoke.log || { tail -60 $(FUZZ)/smoke.log; exit 1; }
fuzz-fault: $(BUILD)/fault/fuzz/optc-fuzz
	@mkdir -p $(BUILD)/fault/corpus
	@if $(BUILD)/fault/fuzz/optc-fuzz -seed=1 -max_total_time=120 -artifact_prefix=$(BUILD)/fault/finding- $(BUILD)/fault/corpus fuzz/seeds > $(BUILD)/fault/log 2>&1; \
	then echo "fuzz-fault: the fault was not found"; exit 1; else grep -m1 'FINDING: algebra' $(BUILD)/fault/log || { tail -40 $(BUILD)/fault/log; exit 1; }; fi

# Comparisons guide the search in the front end only; what the interpreters do with data is no feedback about passes.
ifeq ($(MODE),fuzz)
NO_CMP     := -fno-sanitize-coverage=trace-cmp
NO_COUNTER := -fno-sanitize-coverage=trace-cmp,inline-8bit-counters,pc-table,indirect-calls,edge
$(BUILD)/obj/ir/%.o $(BUILD)/obj/passes/%.o: CFLAGS += $(NO_CMP)
$(BUILD)/obj/fuzz/%.o $(BUILD)/obj/tests/%.o: CFLAGS += $(NO_COUNTER)
$(foreach f,graph_interpret kernel_interpret graph_reduce arena,$(BUILD)/obj/ir/$(f).o): CFLAGS += $(NO_COUNTER)
endif

# The rooms once more, instrumented, in a build folder of their own.
$(FUZZ)/optc-fuzz: fuzz-objects
	@$(MAKE) --no-print-directory BUILD=$(FUZZ)/rooms CC=$(CLANG) MODE=fuzz FUZZ_OUT=$@ fuzz-link
$(BUILD)/fault/fuzz/optc-fuzz: fuzz-objects
	@mkdir -p $(@D)
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/fault/rooms CC=$(CLANG) MODE=fuzz EXTRA=-DOPTC_FAULT_ALGEBRA FUZZ_OUT=$@ fuzz-link
fuzz-objects:
.PHONY: fuzz-link
fuzz-link: $(patsubst %.c,$(BUILD)/obj/%.o,$(FUZZ_SRC)) $(BUILD)/libpasses.a $(BUILD)/libfrontend.a $(BUILD)/libir.a
	@mkdir -p $(dir $(FUZZ_OUT))
	$(FUZZ_LINK) $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group -lm -o $(FUZZ_OUT)
