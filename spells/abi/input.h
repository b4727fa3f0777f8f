/* What a person sends to a text spell: raw UTF-8, a JSON string, or a JSON object with the text and options. */
#ifndef SPELL_INPUT_H
#define SPELL_INPUT_H

#include "spell.h"

/* A place in a JSON document that was already checked to be complete and well formed. */
typedef struct {
    slice document;
    size_t at;
} json_reader;

/* Each takes the next value; a value of another kind ends the spell with a message that names `field`. */
slice json_take_string(json_reader *reader, slice field);
bool json_take_boolean(json_reader *reader, slice field);
/* A whole number from `least` to `most`. */
uint32_t json_take_integer(json_reader *reader, slice field, uint32_t least, uint32_t most);

/* Takes the value of the option `name`; returns false, having taken nothing, when there is no such option. */
typedef bool option_taker(slice name, json_reader *reader, void *options);

/* Reads all input and returns its text, checked to be UTF-8.
 *
 * An input that is one whole JSON string is that string. One whole JSON object must hold `text_field`; its other fields
 * go to `take_option`, and a field nobody knows ends the spell. All else is raw text.
 */
slice spell_read_text(const char *text_field, option_taker *take_option, void *options);

#endif
