// Package conformance holds the black-box tests: AWS's own clients against the
// real program, with its disk, its model processes, and SIGKILL.
//
// They see nothing of deferd's code. What a model did they read from the
// journal that the test model (conformance/model) keeps. Each test has a server
// of its own, in a directory of its own, on free ports.
//
// DEFERD_BOTO3_PYTHON names a Python that has boto3; without it the boto3 tests
// make a virtual environment. Where that cannot be done they are skipped,
// unless DEFERD_TEST_REQUIRE contains boto3.
package conformance
