/* A count per word, for as many words as the memory holds. */
#ifndef WORDS_H
#define WORDS_H

#include "spell.h"

typedef struct {
    slice text;
    uint32_t hash;
    uint32_t count;
} word;

typedef struct {
    word *words;
    size_t length;
    size_t capacity;
    /* Places in `words` plus one, 0 for free; open addressing, at most three quarters full. */
    uint32_t *places;
    size_t place_mask;
} word_table;

/* Counts one use of `text`, whose bytes must stay where they are. Returns true when it is new. */
bool word_table_count(word_table *table, slice text);

/* Puts the `wanted` most used words first, more uses first, then by their bytes. Ends the table's use for counting. */
size_t word_table_top(word_table *table, size_t wanted);

#endif
