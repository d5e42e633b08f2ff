//go:build !race

package powerloss

// slow says that the race detector makes a trial take many times as long.
const slow = false
