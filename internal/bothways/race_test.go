//go:build race

package bothways

// slow says that the race detector makes a run take many times as long.
const slow = true
