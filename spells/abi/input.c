#include "input.h"

#include <string.h>

/* Options are flat; deeper documents are somebody's text. It also bounds the recursion below. */
enum { JSON_DEPTH_MAX = 32 };

static int peek(const json_reader *reader) {
    return reader->at < reader->document.length ? reader->document.bytes[reader->at] : -1;
}

static void skip_space(json_reader *reader) {
    for (int next = peek(reader); next == ' ' || next == '\t' || next == '\n' || next == '\r'; next = peek(reader)) {
        reader->at++;
    }
}

static bool skip_byte(json_reader *reader, int byte) {
    if (peek(reader) != byte) {
        return false;
    }
    reader->at++;
    return true;
}

static bool skip_word(json_reader *reader, const char *word) {
    size_t length = strlen(word);
    if (reader->document.length - reader->at < length ||
        memcmp(reader->document.bytes + reader->at, word, length) != 0) {
        return false;
    }
    reader->at += length;
    return true;
}

/* Reads four hexadecimal digits; -1 when they are not. */
static int32_t take_hexadecimal(json_reader *reader) {
    int32_t value = 0;
    for (int count = 0; count < 4; count++) {
        int digit = peek(reader);
        int letter = digit | 0x20;
        if (digit >= '0' && digit <= '9') {
            value = value * 16 + digit - '0';
        } else if (digit >= 0 && letter >= 'a' && letter <= 'f') {
            value = value * 16 + letter - 'a' + 10;
        } else {
            return -1;
        }
        reader->at++;
    }
    return value;
}

static bool skip_string(json_reader *reader) {
    if (!skip_byte(reader, '"')) {
        return false;
    }
    for (int next = peek(reader); next >= 0x20; next = peek(reader)) {
        reader->at++;
        if (next == '"') {
            return true;
        }
        if (next != '\\') {
            continue;
        }
        int escape = peek(reader);
        if (escape <= 0 || strchr("\"\\/bfnrtu", escape) == NULL) {
            return false;
        }
        reader->at++;
        if (escape == 'u' && take_hexadecimal(reader) < 0) {
            return false;
        }
    }
    return false;
}

static bool skip_digits(json_reader *reader) {
    size_t from = reader->at;
    while (peek(reader) >= '0' && peek(reader) <= '9') {
        reader->at++;
    }
    return reader->at > from;
}

static bool skip_number(json_reader *reader) {
    skip_byte(reader, '-');
    if (!skip_byte(reader, '0') && !skip_digits(reader)) {
        return false;
    }
    if (skip_byte(reader, '.') && !skip_digits(reader)) {
        return false;
    }
    if (skip_byte(reader, 'e') || skip_byte(reader, 'E')) {
        if (!skip_byte(reader, '-')) {
            skip_byte(reader, '+');
        }
        return skip_digits(reader);
    }
    return true;
}

static bool skip_value(json_reader *reader, int depth);

static bool skip_members(json_reader *reader, int depth, int closing) {
    reader->at++;
    skip_space(reader);
    if (skip_byte(reader, closing)) {
        return true;
    }
    for (;;) {
        skip_space(reader);
        if (closing == '}') {
            if (!skip_string(reader)) {
                return false;
            }
            skip_space(reader);
            if (!skip_byte(reader, ':')) {
                return false;
            }
        }
        if (!skip_value(reader, depth + 1)) {
            return false;
        }
        if (skip_byte(reader, closing)) {
            return true;
        }
        if (!skip_byte(reader, ',')) {
            return false;
        }
    }
}

static bool skip_value(json_reader *reader, int depth) {
    skip_space(reader);
    bool valid;
    switch (peek(reader)) {
        case '"': valid = skip_string(reader); break;
        case '{': valid = depth < JSON_DEPTH_MAX && skip_members(reader, depth, '}'); break;
        case '[': valid = depth < JSON_DEPTH_MAX && skip_members(reader, depth, ']'); break;
        case 't': valid = skip_word(reader, "true"); break;
        case 'f': valid = skip_word(reader, "false"); break;
        case 'n': valid = skip_word(reader, "null"); break;
        default: valid = skip_number(reader); break;
    }
    skip_space(reader);
    return valid;
}

static void take_unicode_escape(json_reader *reader, buffer *into) {
    uint32_t value = (uint32_t)take_hexadecimal(reader);
    if (value >= 0xD800 && value < 0xDC00 && skip_word(reader, "\\u")) {
        uint32_t low = (uint32_t)take_hexadecimal(reader);
        if (low >= 0xDC00 && low < 0xE000) {
            buffer_code_point(into, 0x10000 + ((value - 0xD800) << 10) + (low - 0xDC00));
            return;
        }
    }
    if (value >= 0xD800 && value < 0xE000) {
        spell_fail_number("the JSON string holds half of a surrogate pair before offset", reader->at);
    }
    buffer_code_point(into, value);
}

slice json_take_string(json_reader *reader, slice field) {
    skip_space(reader);
    if (!skip_byte(reader, '"')) {
        spell_fail_detail("this field must be a JSON string", field);
    }
    buffer text = {0};
    for (;;) {
        size_t from = reader->at;
        while (peek(reader) != '"' && peek(reader) != '\\') {
            reader->at++;
        }
        buffer_append(&text, (slice){reader->document.bytes + from, reader->at - from});
        if (skip_byte(reader, '"')) {
            return buffer_slice(&text);
        }
        reader->at++;
        int escape = peek(reader);
        reader->at++;
        switch (escape) {
            case 'b': buffer_byte(&text, '\b'); break;
            case 'f': buffer_byte(&text, '\f'); break;
            case 'n': buffer_byte(&text, '\n'); break;
            case 'r': buffer_byte(&text, '\r'); break;
            case 't': buffer_byte(&text, '\t'); break;
            case 'u': take_unicode_escape(reader, &text); break;
            default: buffer_byte(&text, (uint8_t)escape); break;
        }
    }
}

bool json_take_boolean(json_reader *reader, slice field) {
    skip_space(reader);
    if (skip_word(reader, "true")) {
        return true;
    }
    if (!skip_word(reader, "false")) {
        spell_fail_detail("this field must be true or false", field);
    }
    return false;
}

uint32_t json_take_integer(json_reader *reader, slice field, uint32_t least, uint32_t most) {
    skip_space(reader);
    size_t from = reader->at;
    uint64_t value = 0;
    while (peek(reader) >= '0' && peek(reader) <= '9' && value <= UINT32_MAX) {
        value = value * 10 + (uint64_t)(peek(reader) - '0');
        reader->at++;
    }
    int next = peek(reader);
    if (reader->at == from || next == '.' || next == 'e' || next == 'E' || value < least || value > most) {
        spell_fail_detail("this field must be a whole number within its range (see the input schema)", field);
    }
    return (uint32_t)value;
}

static slice take_object(json_reader *reader, slice text_field, option_taker *take_option, void *options) {
    slice text = {0};
    bool has_text = false;
    reader->at++;
    skip_space(reader);
    while (!skip_byte(reader, '}')) {
        slice name = json_take_string(reader, slice_of("name"));
        skip_space(reader);
        reader->at++;
        if (slice_equals(name, text_field)) {
            text = json_take_string(reader, name);
            has_text = true;
        } else if (!take_option(name, reader, options)) {
            spell_fail_detail("the input object has a field this spell does not know", name);
        }
        skip_space(reader);
        skip_byte(reader, ',');
        skip_space(reader);
    }
    if (!has_text) {
        spell_fail_detail("the input object must hold the text in this field", text_field);
    }
    return text;
}

slice spell_read_text(const char *text_field, option_taker *take_option, void *options) {
    slice input = utf8_required(spell_read_input());
    json_reader reader = {input, 0};
    skip_space(&reader);
    int first = peek(&reader);
    size_t start = reader.at;
    bool is_json = (first == '"' || first == '{') && skip_value(&reader, 0) && reader.at == input.length;
    if (!is_json) {
        return input;
    }
    reader.at = start;
    if (first == '"') {
        return json_take_string(&reader, slice_of("input"));
    }
    return take_object(&reader, slice_of(text_field), take_option, options);
}
