// Package awsmodel holds AWS's request and response types, and checks requests
// as AWS does.
//
// The types, their constraints and the decoders of REST requests are generated
// from AWS's own service models (models/), so that limits, patterns and the
// texts of violations are AWS's and none is typed by hand. What is wider here
// than there stands in widened.go, and nowhere else.
//
// Members are pointers, and absent lists and maps are nil, so that a request
// that is marshalled again says exactly what the caller said.
package awsmodel

//go:generate go run ./generate
