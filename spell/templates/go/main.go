// Greets a person: reads a JSON string from stdin, writes a JSON string to stdout.
package main

import (
	"encoding/json"
	"fmt"
	"os"
)

func main() {
	var name string
	if err := json.NewDecoder(os.Stdin).Decode(&name); err != nil {
		fmt.Fprintf(os.Stderr, "The input is not a JSON string (%v). Send one, like \"Ada\".\n", err)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode("Hello, " + name + "!"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
