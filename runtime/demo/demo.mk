# demo.mk: make demo [RULE=lion] [LR=3e-4] [STEPS=1500] [GPU=1]: compiles the rule to an object, links it into the training program, trains. With GPU=1 the optimizer runs
# on an NVIDIA GPU, or the program says that there is none.
RULE  ?= adamw
STEPS ?= 1500
DEMO  := $(BUILD)/demo/$(RULE)$(if $(GPU),-gpu)
ifdef GPU
DEMO_OPTC  := --gpu=sm_70,sm_80,sm_90
DEMO_FLAGS := -DDEMO_GPU -Iruntime -Iir
DEMO_NEEDS := runtime/demo/optimizer_gpu.h runtime/optc.h ir/optc_abi.h $(DEMO)/liboptc.so.0
DEMO_LIBS  := $(DEMO)/liboptc.so.0 -Wl,-rpath,$(abspath $(DEMO))
endif

ifeq ($(wildcard rules/$(RULE).opt),)
$(if $(filter demo,$(MAKECMDGOALS)),$(error there is no rules/$(RULE).opt; RULE is one of $(patsubst rules/%.opt,%,$(wildcard rules/*.opt))))
endif

.PHONY: demo
demo: $(DEMO)/train
	$(DEMO)/train runtime/demo/text.txt --steps $(STEPS) $(if $(LR),--lr $(LR)) --curve $(DEMO)/loss.svg
$(DEMO)/$(RULE).o $(DEMO)/$(RULE).h &: rules/$(RULE).opt $(BUILD)/optc
	@mkdir -p $(DEMO)
	$(BUILD)/optc $< $(DEMO_OPTC) -o $(DEMO)/$(RULE).o --header $(DEMO)/$(RULE).h
$(DEMO)/demo_rule.h: $(DEMO)/$(RULE).h
	@printf '#include "%s.h"\n#define RULE(x) %s_##x\n#define RULE_NAME "%s"\n#define RULE_DEFAULTS %s_HYPER_DEFAULTS\n#define RULE_N_STATES %s_N_STATES\n#define RULE_STATES (RULE_N_STATES + 1)\n' \
	  $(RULE) $(RULE) $(RULE) $(RULE) $(RULE) > $@
$(DEMO)/train: runtime/demo/train.c $(DEMO)/demo_rule.h $(DEMO)/$(RULE).o $(DEMO_NEEDS)
	$(CC) -std=gnu11 -O3 -march=native -Wall -Wextra -Werror -I$(DEMO) $(DEMO_FLAGS) $< $(DEMO)/$(RULE).o $(DEMO_LIBS) -lm -o $@
$(DEMO)/liboptc.so.0: $(BUILD)/liboptc.so
	@mkdir -p $(@D)
	@ln -sf $(abspath $<) $@
