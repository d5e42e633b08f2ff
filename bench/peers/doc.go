// Package peers has the programs that deferd is measured beside, one in each
// directory, and the test that they do what deferd does.
package peers
