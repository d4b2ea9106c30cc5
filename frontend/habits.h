/* habits.h: what people write by the habit of another language, and what stands for it here. */
#ifndef OPTC_FRONTEND_HABITS_H
#define OPTC_FRONTEND_HABITS_H
#include <stddef.h>

const char *habit_statement(const char *word);         /* a statement that begins so: `for`, `elif`; NULL: nothing is known of it */
const char *habit_attribute(const char *name);         /* behind a `.` */
const char *habit_name(const char *name);              /* a name that means nothing */
const char *habit_argument(const char *name);          /* of a call: name=... */
#endif
