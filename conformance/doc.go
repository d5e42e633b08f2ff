// Package conformance holds the black-box tests: AWS's own clients against the
// real program, with its disk, its model processes, and SIGKILL.
//
// They see nothing of deferd's code. What a model did they read from the
// journal that the test model (conformance/model) keeps. Each test has a server
// of its own, in a directory of its own, on free ports.
//
// The README, docs/getting-started.md and the examples' READMEs are tests too: a
// reader does what they say, word for word. Their sh blocks are typed into a
// terminal, a block with a file name behind its language is saved under it, and
// a block without a language that follows at once shows what has to be printed,
// where "…" stands for anything. What is not to be run is a console block.
//
// TestClients walks through the life of an endpoint with each client that
// people use, and prints which of them can do what; docs/clients.md keeps that
// table. The programs that walk are in python, gowalk, and directories of other
// languages. A client that is not there is made, and where it cannot be made
// its walk is skipped, unless DEFERD_TEST_REQUIRE has its name among its words.
// Variables name what is there already: see walks_test.go.
//
// TestNotebooks goes the ways of AWS's notebooks with programs in python, which
// end where a client is told what AWS would not tell it; TestTerraform makes the
// calls of Terraform's provider.
//
// TestPowerLoss needs strace and is skipped without it, unless
// DEFERD_TEST_REQUIRE contains strace. DEFERD_POWERLOSS=long tries every cut.
package conformance
