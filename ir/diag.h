/* diag.h: diagnostics. Errors are values: every room reports here, nobody prints.
 *
 * A range is a pair of byte offsets in a source; rendering turns it into file:line:col, the source line and a caret
 * range. An error may carry notes (where a name was first declared, which shapes disagree) and a fix (a replacement text). */
#ifndef OPTC_IR_DIAG_H
#define OPTC_IR_DIAG_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "ir/arena.h"

typedef struct Source { const char *name, *text; size_t length; } Source;
typedef struct Range { const Source *source; uint32_t begin, end; } Range;    /* source NULL: no place in a text */

typedef enum DiagLevel { DIAG_ERROR, DIAG_WARNING, DIAG_NOTE } DiagLevel;
typedef struct DiagMessage {
  DiagLevel level;
  Range where;
  const char *text;
  const char *fix;                     /* replacement for the range, or NULL */
} DiagMessage;                         /* a note belongs to the error or warning before it */

typedef struct Diag Diag;
Diag *diag_new(Arena *, unsigned error_limit);       /* after the limit (0: 20) errors are counted, not kept */
void diag_error(Diag *, Range, const char *format, ...) __attribute__((format(printf, 3, 4)));
void diag_warning(Diag *, Range, const char *format, ...) __attribute__((format(printf, 3, 4)));
void diag_note(Diag *, Range, const char *format, ...) __attribute__((format(printf, 3, 4)));
void diag_fix(Diag *, const char *replacement);      /* for the message last added */
unsigned diag_errors(const Diag *);
size_t diag_count(const Diag *);
void diag_rewind(Diag *, size_t count);              /* forgets what was said after the first `count`, notes included */
const DiagMessage *diag_get(const Diag *, size_t index);

void diag_place(Range, unsigned *line, unsigned *column);                /* both from 1; column in bytes */
void diag_render_text(const Diag *, Text *out, bool color);              /* in order of place, notes after their error */
void diag_render_json(const Diag *, Text *out);                          /* an array of objects */
#endif
