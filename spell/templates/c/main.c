/* Greets a person: reads a JSON string from stdin, writes a JSON string to stdout. */
#include <stdio.h>
#include <string.h>

int main(void) {
    static char input[4096];
    size_t length = fread(input, 1, sizeof input - 1, stdin);

    /* The input fits `input_schema`, so it is a string: what stands between its quotes is copied as it is. */
    char *first = strchr(input, '"');
    char *last = strrchr(input, '"');
    if (length == sizeof input - 1 || first == NULL || first == last) {
        fprintf(stderr, "The input is not a short JSON string. Send one, like \"Ada\".\n");
        return 1;
    }
    printf("\"Hello, %.*s!\"\n", (int)(last - first - 1), first + 1);
    return 0;
}
