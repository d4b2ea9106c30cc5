/* suggest.h: the word that was meant: one of the caller's own texts. */
#ifndef OPTC_IR_SUGGEST_H
#define OPTC_IR_SUGGEST_H
#include <stddef.h>

/* The nearest of the candidates (some may be NULL) by edits, the first of equals; NULL where none is within a third of the word's length. */
const char *suggest_word(const char *word, const char *const *candidates, size_t count);
#endif
