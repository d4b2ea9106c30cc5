# quality.mk: make format, make lint, make coverage: what is looked at besides the tests. What needs a tool that is not there says so.
HAVE = command -v $(1) >/dev/null 2>&1

# The style has no formatter of its own (line breaks and columns are the author's): only what no author means is put right.
FORMATTED = $(shell git ls-files -m -o --exclude-standard -- '*.c' '*.h' '*.def' '*.re' '*.y' '*.mk' '*.sh' '*.md' '*.opt' Makefile; git diff --name-only HEAD -- '*.c' '*.h')
.PHONY: format
format:
	@$(call HAVE,git) || { echo "format: git is not installed, so changed files are not known: give FORMATTED='FILE...'"; exit 1; }
	@for f in $(sort $(wildcard $(FORMATTED))); do \
	  sed -e 's/\r$$//' -e 's/[ \t]*$$//' $$f | case $$f in (*.c|*.h|*.def) expand -t 8;; (*) cat;; esac > $(BUILD)/formatted; \
	  cmp -s $(BUILD)/formatted $$f || { cat $(BUILD)/formatted > $$f; echo "  FORMAT  $$f"; }; done; rm -f $(BUILD)/formatted

# clang's warnings beyond those of the build, as errors. ANALYZE=1: its static analyser too, whose findings are read, not obeyed.
LINT      := $(BUILD)/lint
LINT_SRC  := $(wildcard ir/*.c frontend/*.c passes/*.c backends/*.c runtime/*.c fuzz/*.c fuzz/*/*.c tests/*.c tests/support/*.c tests/evaluator/*.c tests/cuda/*.c)
LINT_WARN := -Wmissing-variable-declarations -Wunreachable-code-aggressive -Wloop-analysis -Wformat=2 -Wno-format-nonliteral -Wundef -Wvla \
  -Wshorten-64-to-32 -Wnewline-eof -Wunused-macros -Wno-missing-field-initializers
LINT_CC    = $(CLANG) -std=gnu11 $(WARN) $(LINT_WARN) $(STRICT) -fopenmp -I. -iquote ir -I$(BUILD)/gen -DOPTC_VERSION='"$(VERSION)"' $(LLVM_CFLAGS)
.PHONY: lint lint-tool
lint: $(LINT_SRC:%.c=$(LINT)/%.ok)
lint-tool:
	@$(call HAVE,$(CLANG)) || { echo "lint: $(CLANG) is not installed"; exit 1; }
$(LINT)/%.ok: %.c $(BUILD)/gen/frontend/grammar.h $(BUILD)/gen/runtime/build_id.h | lint-tool
	@mkdir -p $(@D)
	$(call say,LINT,$<)
	$(Q)$(LINT_CC) -MMD -MP -MF $(@:.ok=.d) -MT $@ -fsyntax-only $<
	$(if $(ANALYZE),$(Q)$(LINT_CC) --analyze --analyzer-output text $< -o $(@:.ok=.plist))
	@touch $@
-include $(wildcard $(LINT)/*.d $(LINT)/*/*.d $(LINT)/*/*/*.d)

# Lines of each room that the unit tests run, with gcc's counters, in a build of its own. COVERED names the suites.
COVERAGE := $(BUILD)/coverage
COVERED  ?= $(ASAN_SUITES)
.PHONY: coverage
coverage: $(BUILD)/optc
	@$(call HAVE,gcov) || { echo "coverage: gcov is not installed"; exit 1; }
	@$(MAKE) --no-print-directory BUILD=$(COVERAGE) MODE=coverage $(COVERED:%=$(COVERAGE)/tests/%)
	@find $(COVERAGE) -name '*.gcda' -delete
	@for s in $(COVERED); do echo "== $$s"; OPTC=$(BUILD)/optc $(COVERAGE)/tests/$$s > $(COVERAGE)/log 2>&1 || { tail -40 $(COVERAGE)/log; exit 1; }; done
	@for r in $(ROOMS); do for o in $(COVERAGE)/obj/$$r/*.gcda; do gcov -n $$o 2>/dev/null; done; done | awk -f tests/tools/coverage.awk
