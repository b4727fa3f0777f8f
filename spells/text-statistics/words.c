#include "words.h"

#include <string.h>

static void places_grow(word_table *table) {
    size_t places = table->places == NULL ? 1024 : (table->place_mask + 1) * 2;
    spell_free(table->places);
    table->places = spell_allocate(places * sizeof *table->places);
    memset(table->places, 0, places * sizeof *table->places);
    table->place_mask = places - 1;
    for (size_t index = 0; index < table->length; index++) {
        size_t place = table->words[index].hash & table->place_mask;
        while (table->places[place] != 0) {
            place = (place + 1) & table->place_mask;
        }
        table->places[place] = (uint32_t)index + 1;
    }
}

static void words_append(word_table *table, slice text, uint32_t hash) {
    if (table->length == table->capacity) {
        table->capacity = table->capacity + table->capacity / 2 + 256;
        table->words = spell_reallocate(table->words, table->capacity * sizeof *table->words);
    }
    table->words[table->length++] = (word){text, hash, 1};
}

bool word_table_count(word_table *table, slice text) {
    if (table->places == NULL || table->length >= (table->place_mask + 1) / 4 * 3) {
        places_grow(table);
    }
    uint32_t hash = slice_hash(text);
    size_t place = hash & table->place_mask;
    for (; table->places[place] != 0; place = (place + 1) & table->place_mask) {
        word *known = &table->words[table->places[place] - 1];
        if (known->hash == hash && slice_equals(known->text, text)) {
            known->count++;
            return false;
        }
    }
    words_append(table, text, hash);
    table->places[place] = (uint32_t)table->length;
    return true;
}

/* True when `left` belongs before `right`. */
static bool is_before(const word *left, const word *right) {
    if (left->count != right->count) {
        return left->count > right->count;
    }
    size_t shorter = left->text.length < right->text.length ? left->text.length : right->text.length;
    int order = memcmp(left->text.bytes, right->text.bytes, shorter);
    return order != 0 ? order < 0 : left->text.length < right->text.length;
}

size_t word_table_top(word_table *table, size_t wanted) {
    /* `wanted` is small, so an insertion into the sorted front beats sorting a million words. */
    size_t kept = 0;
    for (size_t index = 0; index < table->length; index++) {
        word candidate = table->words[index];
        if (kept == wanted && (wanted == 0 || !is_before(&candidate, &table->words[kept - 1]))) {
            continue;
        }
        size_t place = kept < wanted ? kept++ : kept - 1;
        /* The word that lies here moves to the candidate's old place: nothing is read twice, nothing is lost. */
        table->words[index] = table->words[place];
        for (; place > 0 && is_before(&candidate, &table->words[place - 1]); place--) {
            table->words[place] = table->words[place - 1];
        }
        table->words[place] = candidate;
    }
    return kept;
}
