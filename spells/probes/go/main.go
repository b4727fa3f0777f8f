// Shows what a guest sees of time and chance: the clocks around a sleep, and random bytes.
//
// Stdin may hold the length of the sleep in milliseconds; 50 otherwise. Go's runtime sleeps through poll_oneoff and
// hangs on a clock that never moves, which is what this probe is for.
package main

import (
	"encoding/hex"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"time"
)

const (
	sleepMillisecondsDefault = 50
	sleepMillisecondsMax     = 3600 * 1000
	randomBytes              = 16
)

func fail(message string) {
	os.Stderr.WriteString(message + "\n")
	os.Exit(1)
}

func sleepMilliseconds() int {
	input, err := io.ReadAll(os.Stdin)
	if err != nil {
		fail("the input could not be read: " + err.Error())
	}
	if len(input) == 0 {
		return sleepMillisecondsDefault
	}
	milliseconds, err := strconv.Atoi(string(input))
	if err != nil || milliseconds < 0 || milliseconds > sleepMillisecondsMax {
		fail("the input must be a whole number of milliseconds, at most " + strconv.Itoa(sleepMillisecondsMax))
	}
	return milliseconds
}

func main() {
	sleep := time.Duration(sleepMilliseconds()) * time.Millisecond
	before := time.Now()
	time.Sleep(sleep)
	after := time.Now()

	// math/rand is seeded by the runtime from random_get, so it shows whether that repeats.
	random := make([]byte, 0, randomBytes)
	for len(random) < randomBytes {
		random = append(random, byte(rand.Uint32()))
	}
	output := `{"realtime_before_ns":` + strconv.FormatInt(before.UnixNano(), 10) +
		`,"realtime_after_ns":` + strconv.FormatInt(after.UnixNano(), 10) +
		`,"monotonic_elapsed_ns":` + strconv.FormatInt(after.Sub(before).Nanoseconds(), 10) +
		`,"random_hex":"` + hex.EncodeToString(random) + `"}`
	if _, err := os.Stdout.WriteString(output); err != nil {
		fail("the output could not be written: " + err.Error())
	}
}
