/* Greets a person: {"name": "Ada"}, the JSON string "Ada", or the raw text Ada. */
#include "input.h"

enum { NAME_BYTES_MAX = 200 };

static bool take_option(slice name, json_reader *reader, void *options) {
    (void)name;
    (void)reader;
    (void)options;
    return false;
}

int main(void) {
    slice name = spell_read_text("name", take_option, NULL);
    while (name.length > 0 && (name.bytes[name.length - 1] == '\n' || name.bytes[name.length - 1] == '\r')) {
        name.length--;
    }
    if (name.length > NAME_BYTES_MAX) {
        spell_fail_number("the name is too long; the most bytes it may have are", NAME_BYTES_MAX);
    }
    buffer greeting = {0};
    buffer_text(&greeting, "Hello, ");
    buffer_append(&greeting, name.length > 0 ? name : slice_of("world"));
    buffer_byte(&greeting, '!');
    buffer output = {0};
    buffer_json_string(&output, buffer_slice(&greeting));
    spell_write_output(buffer_slice(&output));
    return 0;
}
