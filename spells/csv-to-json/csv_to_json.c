/* Turns CSV (RFC 4180) into a JSON array. README.md lists what is refused and why. */
#include "input.h"

#include <string.h>

/* Names are compared pair by pair: 2,000 columns are two million comparisons of a hash. */
enum { COLUMNS_MAX = 2000 };
/* A number of more digits would lose some in a double, which is what most readers of JSON make of it. */
enum { NUMBER_BYTES_MAX = 15 };

typedef struct {
    uint8_t delimiter;
    bool has_header;
    bool infers_types;
} settings;

typedef struct {
    buffer text;
    bool is_quoted;
} field;

typedef struct {
    slice text;
    size_t at;
    uint64_t line;
    settings chosen;
    field *fields; /* of the present record; buffers are used again for the next one */
    size_t field_count;
    size_t field_capacity;
} csv_reader;

static bool take_option(slice name, json_reader *reader, void *options) {
    settings *chosen = options;
    if (slice_equals(name, slice_of("delimiter"))) {
        slice delimiter = json_take_string(reader, name);
        if (delimiter.length != 1 || delimiter.bytes[0] >= 0x80 || strchr("\"\r\n", delimiter.bytes[0]) != NULL) {
            spell_fail("delimiter must be one ASCII character other than a quote or a line break");
        }
        chosen->delimiter = delimiter.bytes[0];
    } else if (slice_equals(name, slice_of("header"))) {
        chosen->has_header = json_take_boolean(reader, name);
    } else if (slice_equals(name, slice_of("infer_types"))) {
        chosen->infers_types = json_take_boolean(reader, name);
    } else {
        return false;
    }
    return true;
}

static int peek(const csv_reader *reader) {
    return reader->at < reader->text.length ? reader->text.bytes[reader->at] : -1;
}

static bool is_field_end(const csv_reader *reader) {
    int next = peek(reader);
    return next == -1 || next == '\n' || next == '\r' || next == reader->chosen.delimiter;
}

/* Takes one line break (LF, CRLF or CR) when there is one. */
static bool skip_line_break(csv_reader *reader) {
    int next = peek(reader);
    if (next != '\n' && next != '\r') {
        return false;
    }
    reader->at++;
    if (next == '\r' && peek(reader) == '\n') {
        reader->at++;
    }
    reader->line++;
    return true;
}

static field *next_field(csv_reader *reader) {
    if (reader->field_count == COLUMNS_MAX) {
        spell_fail_number("a record has too many fields, on line", reader->line);
    }
    if (reader->field_count == reader->field_capacity) {
        size_t capacity = reader->field_capacity * 2 + 16;
        reader->fields = spell_reallocate(reader->fields, capacity * sizeof *reader->fields);
        memset(reader->fields + reader->field_capacity, 0, (capacity - reader->field_capacity) * sizeof *reader->fields);
        reader->field_capacity = capacity;
    }
    field *taken = &reader->fields[reader->field_count++];
    taken->text.length = 0;
    taken->is_quoted = false;
    return taken;
}

static void take_quoted(csv_reader *reader, field *into) {
    uint64_t opened_on = reader->line;
    into->is_quoted = true;
    reader->at++;
    for (;;) {
        size_t from = reader->at;
        while (peek(reader) != '"' && peek(reader) != '\n' && peek(reader) != '\r' && peek(reader) != -1) {
            reader->at++;
        }
        buffer_append(&into->text, (slice){reader->text.bytes + from, reader->at - from});
        from = reader->at;
        if (skip_line_break(reader)) {
            buffer_append(&into->text, (slice){reader->text.bytes + from, reader->at - from});
            continue;
        }
        if (peek(reader) == -1) {
            spell_fail_number("a quoted field is never closed; it opens on line", opened_on);
        }
        reader->at++;
        if (peek(reader) != '"') {
            break;
        }
        buffer_byte(&into->text, '"');
        reader->at++;
    }
    if (!is_field_end(reader)) {
        spell_fail_number("text follows a closing quote (write a quote inside a field twice), on line", reader->line);
    }
}

static void take_field(csv_reader *reader) {
    field *into = next_field(reader);
    if (peek(reader) == '"') {
        take_quoted(reader, into);
        return;
    }
    size_t from = reader->at;
    while (!is_field_end(reader)) {
        if (peek(reader) == '"') {
            spell_fail_number("a quote stands inside an unquoted field (quote the whole field), on line", reader->line);
        }
        reader->at++;
    }
    buffer_append(&into->text, (slice){reader->text.bytes + from, reader->at - from});
}

/* Takes the next record that is not an empty line; false at the end. `line` is where the record began. */
static bool take_record(csv_reader *reader, uint64_t *line) {
    while (skip_line_break(reader)) {
    }
    if (peek(reader) == -1) {
        return false;
    }
    *line = reader->line;
    reader->field_count = 0;
    take_field(reader);
    while (peek(reader) == reader->chosen.delimiter) {
        reader->at++;
        take_field(reader);
    }
    skip_line_break(reader);
    return true;
}

/* A JSON number that every reader gives back as it was written: no exponent, no leading zero, few digits, no -0. */
static bool is_plain_number(slice text) {
    size_t at = text.length > 0 && text.bytes[0] == '-';
    size_t whole_from = at;
    while (at < text.length && text.bytes[at] - '0' < 10u) {
        at++;
    }
    size_t whole = at - whole_from;
    bool has_leading_zero = whole > 1 && text.bytes[whole_from] == '0';
    if (whole == 0 || has_leading_zero || text.length > NUMBER_BYTES_MAX) {
        return false;
    }
    if (at == text.length) {
        return !(whole_from == 1 && text.bytes[1] == '0');
    }
    size_t fraction_from = at + 1;
    if (text.bytes[at] != '.' || fraction_from == text.length) {
        return false;
    }
    for (at = fraction_from; at < text.length; at++) {
        if (text.bytes[at] - '0' >= 10u) {
            return false;
        }
    }
    return true;
}

static void write_value(buffer *output, const field *value, bool infers_types) {
    slice text = buffer_slice(&value->text);
    if (infers_types && !value->is_quoted) {
        if (text.length == 0) {
            buffer_text(output, "null");
            return;
        }
        bool is_boolean = slice_equals(text, slice_of("true")) || slice_equals(text, slice_of("false"));
        if (is_boolean || is_plain_number(text)) {
            buffer_append(output, text);
            return;
        }
    }
    buffer_json_string(output, text);
}

typedef struct {
    buffer name;
    uint32_t hash;
    buffer key; /* the name as JSON with its colon, made once for all records */
} column;

typedef struct {
    column *columns;
    size_t length;
} header;

/* Takes the first record as the header. A column without a name is called by its place; two equal names are refused. */
static header take_header(csv_reader *reader) {
    header names = {0};
    uint64_t line;
    if (!take_record(reader, &line)) {
        return names;
    }
    names.length = reader->field_count;
    names.columns = spell_allocate(names.length * sizeof *names.columns);
    for (size_t index = 0; index < names.length; index++) {
        column *named = &names.columns[index];
        *named = (column){0};
        buffer_append(&named->name, buffer_slice(&reader->fields[index].text));
        if (named->name.length == 0) {
            buffer_text(&named->name, "column_");
            buffer_number(&named->name, index + 1);
        }
        slice name = buffer_slice(&named->name);
        named->hash = slice_hash(name);
        for (size_t earlier = 0; earlier < index; earlier++) {
            bool may_equal = names.columns[earlier].hash == named->hash;
            if (may_equal && slice_equals(buffer_slice(&names.columns[earlier].name), name)) {
                spell_fail_detail("two columns have the same name", name);
            }
        }
        buffer_json_string(&named->key, name);
        buffer_byte(&named->key, ':');
    }
    return names;
}

static void write_record(buffer *output, const csv_reader *reader, const header *names, uint64_t line) {
    bool has_names = reader->chosen.has_header;
    if (has_names && reader->field_count != names->length) {
        spell_fail_number("a record has more or fewer fields than the header, on line", line);
    }
    buffer_byte(output, has_names ? '{' : '[');
    for (size_t index = 0; index < reader->field_count; index++) {
        if (index > 0) {
            buffer_byte(output, ',');
        }
        if (has_names) {
            buffer_append(output, buffer_slice(&names->columns[index].key));
        }
        write_value(output, &reader->fields[index], reader->chosen.infers_types);
    }
    buffer_byte(output, has_names ? '}' : ']');
}

int main(void) {
    csv_reader reader = {.line = 1, .chosen = {.delimiter = ',', .has_header = true}};
    reader.text = spell_read_text("csv", take_option, &reader.chosen);
    header names = {0};
    if (reader.chosen.has_header) {
        names = take_header(&reader);
    }
    buffer output = {0};
    buffer_byte(&output, '[');
    uint64_t line;
    while (take_record(&reader, &line)) {
        if (output.length > 1) {
            buffer_text(&output, ",\n");
        }
        write_record(&output, &reader, &names, line);
    }
    buffer_byte(&output, ']');
    spell_write_output(buffer_slice(&output));
    return 0;
}
