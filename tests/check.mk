# check.mk: make check: every suite, several at a time (tests/run.sh), then the same unit tests under AddressSanitizer and UBSan, the demo, and the fuzzer from a fixed seed.
SUITES    := $(notdir $(TESTS:.c=))
ASAN      := $(BUILD)/asan

.PHONY: check check-suites asan
check: all tests
	@$(MAKE) --no-print-directory BUILD=$(ASAN) MODE=debug OPTC_BUILD_COMMAND= tests $(ASAN)/fuzz-language
	@$(MAKE) --no-print-directory fuzz-objects $(FUZZ)/optc-fuzz $(BUILD)/fault/fuzz/optc-fuzz
	@tests/run.sh $(BUILD) $(SUITES) \
	  $(foreach s,$(ASAN_SUITES),"asan-$(s)=OPTC=$(BUILD)/optc $(ASAN)/tests/$(s)") \
	  "demo-adamw=$(MAKE) --no-print-directory demo STEPS=300" "demo-lion=$(MAKE) --no-print-directory demo RULE=lion STEPS=300" "demo-gpu=tests/demo_gpu.sh $(BUILD)" \
	  $(foreach b,interp jit aot ptx,$(foreach o,O0 O2,"golden-$(b)-$(o)=tests/golden.sh $(BUILD)/optc $(b) -$(o)")) \
	  "runner=tests/run_faults.sh" "shards=tests/shards.sh $(BUILD)/optc $(BUILD)/shards" $(foreach m,guards heap races,"edge-$(m)=tests/edge.sh $(BUILD)/optc $(BUILD)/edge $(m)") "install=tests/install.sh $(BUILD)" "docs=tests/docs.sh $(BUILD)" "flags=tests/flags.sh" \
	  "fuzz-smoke=$(MAKE) --no-print-directory fuzz-smoke" "fuzz-lang-smoke=$(MAKE) --no-print-directory fuzz-lang-smoke" "fuzz-finds-a-fault=$(MAKE) --no-print-directory fuzz-fault"
# Suites that start other programs (compilers, emulators) check those under the plain build only.
ASAN_SUITES = $(filter ir_% frontend_% passes_% backends_driver% backends_memory% backends_ptx% runtime_api% runtime_shapes% runtime_cache%,$(SUITES))
asan:
	@$(MAKE) --no-print-directory BUILD=$(ASAN) MODE=debug tests
	@for s in $(ASAN_SUITES); do echo "== $$s"; OPTC=$(BUILD)/optc $(ASAN)/tests/$$s || exit 1; done
