# demo.mk: make demo [RULE=lion] [LR=3e-4] [STEPS=1500]: compiles the rule to an object, links it into the training program, trains.
RULE  ?= adamw
STEPS ?= 1500
DEMO  := $(BUILD)/demo/$(RULE)

.PHONY: demo
demo: $(DEMO)/train
	$(DEMO)/train runtime/demo/text.txt --steps $(STEPS) $(if $(LR),--lr $(LR)) --curve $(DEMO)/loss.svg
$(DEMO)/$(RULE).o $(DEMO)/$(RULE).h &: rules/$(RULE).opt $(BUILD)/optc
	@mkdir -p $(DEMO)
	$(BUILD)/optc $< -o $(DEMO)/$(RULE).o --header $(DEMO)/$(RULE).h
$(DEMO)/demo_rule.h: $(DEMO)/$(RULE).h
	@printf '#include "%s.h"\n#define RULE(x) %s_##x\n#define RULE_NAME "%s"\n#define RULE_DEFAULTS %s_HYPER_DEFAULTS\n#define RULE_N_STATES %s_N_STATES\n#define RULE_STATES (RULE_N_STATES + 1)\n' \
	  $(RULE) $(RULE) $(RULE) $(RULE) $(RULE) > $@
$(DEMO)/train: runtime/demo/train.c $(DEMO)/demo_rule.h $(DEMO)/$(RULE).o
	$(CC) -std=gnu11 -O3 -march=native -Wall -Wextra -Werror -I$(DEMO) $< $(DEMO)/$(RULE).o -lm -o $@
