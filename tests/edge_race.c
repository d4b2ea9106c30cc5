/* edge_race.c: a rule made by hand whose chunks all write the item's first element: what the host must find where kernels race.
 *
 *   for each chunk of an item:  p[0] = p[0] + 1
 */
#include "ir/frame.h"
#include "ir/type.h"

static void step(optc_frame *f) { *(float *)f->data[0] += 1; }
static void nothing(optc_frame *f) { (void)f; }

typedef struct Item { optc_tensor p; int64_t group, rank; const int64_t *shape; int64_t first, count; } Item;
static const optc_operand_desc operands[] = {{.name = "p", .type_name = "f32", .role = ROLE_PARAM, .type = TYPE_F32, .bytes = 4, .item_shape = 1, .tensor = 1}};
static const int64_t uses[] = {USE_READ | USE_WRITTEN};
static const optc_kernel_desc init_kernels[] = {{.name = "init", .launch = LAUNCH_ITEM, .fn = {nothing}}}, step_kernels[] = {{.name = "step", .launch = LAUNCH_CHUNK, .fn = {step}}};
static const optc_entry_desc entries[] = {
  {.name = "init", .kernels = init_kernels, .n_kernels = 1, .uses = uses, .n_phases = 1}, {.name = "step", .kernels = step_kernels, .n_kernels = 1, .uses = uses, .advances = 1, .n_phases = 1},
};
extern const optc_rule_desc race_rule;
const optc_rule_desc race_rule = {
  .version = OPTC_DESC_VERSION, .name = "race", .operands = operands, .n_operands = 1, .entries = entries, .n_entries = 2, .item_size = sizeof(Item), .global_size = 16,
  .item_group = offsetof(Item, group), .item_rank = offsetof(Item, rank), .item_shape = offsetof(Item, shape), .item_first = offsetof(Item, first),
  .item_count = offsetof(Item, count), .n_variants = 1,
};
int race_init(const optc_call *), race_step(const optc_call *), race_layout(const optc_call *, int64_t, optc_state_info *);
size_t race_workspace_size(const optc_call *);
int race_init(const optc_call *call) { return optc_drive(&race_rule, 0, call, 0); }
int race_step(const optc_call *call) { return optc_drive(&race_rule, 1, call, 0); }
int race_layout(const optc_call *call, int64_t item, optc_state_info *out) { return optc_drive_layout(&race_rule, call, item, out, 0); }
size_t race_workspace_size(const optc_call *call) { return optc_drive_workspace(&race_rule, call); }
