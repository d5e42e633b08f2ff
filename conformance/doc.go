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
// DEFERD_BOTO3_PYTHON names a Python that has boto3; without it the boto3 tests
// make a virtual environment. Where that cannot be done they are skipped,
// unless DEFERD_TEST_REQUIRE contains boto3.
package conformance
