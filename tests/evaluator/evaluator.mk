# evaluator.mk: the evaluator on the syntax tree: linked by its test, and a command (tests/evaluator/README.md).
EVALUATOR := $(patsubst %.c,$(BUILD)/obj/%.o,$(filter-out tests/evaluator/evaluate.c,$(wildcard tests/evaluator/*.c)))
extra_frontend_evaluator_test := $(EVALUATOR)
libs_frontend_evaluator_test  := -lmpfr -lgmp
$(BUILD)/tests/evaluate: $(BUILD)/obj/tests/evaluator/evaluate.o $(EVALUATOR) $(BUILD)/libfrontend.a $(BUILD)/libir.a
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) $^ -ljansson -lmpfr -lgmp -lm -o $@
extra_runtime_evaluator_test := $(EVALUATOR)
libs_runtime_evaluator_test  := -lmpfr -lgmp
extra_passes_evaluator_test := $(EVALUATOR)
libs_passes_evaluator_test  := -lmpfr -lgmp
extra_runtime_gradient_test := $(EVALUATOR)
libs_runtime_gradient_test  := -lmpfr -lgmp
